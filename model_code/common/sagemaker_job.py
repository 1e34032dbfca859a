"""What SageMaker tells a job: channels, folders and hyperparameters of training; the exit message of processing.

A training script may run under the sagemaker-training toolkit (`SM_*` variables), as a bare
container (`/opt/ml/input/config/*.json`) or under torchrun; the job reads whichever is there.
`SAGEMAKER_BASE_DIR` moves `/opt/ml`, as it does for the toolkit.
"""

from __future__ import annotations

import json
import os
from argparse import ArgumentParser
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

MAX_EXIT_MESSAGE_BYTES = 1_024  # SageMaker's limit for a processing job

Config = TypeVar("Config")


def base_dir(environ: Mapping[str, str] | None = None) -> Path:
    return Path((os.environ if environ is None else environ).get("SAGEMAKER_BASE_DIR") or "/opt/ml")


def write_exit_message(message: Mapping[str, Any], *, environ: Mapping[str, str] | None = None) -> str:
    """Leave the job's answer where DescribeProcessingJob's ExitMessage comes from; ValueError over 1 KB."""
    text = json.dumps(message, separators=(",", ":"), ensure_ascii=True)
    if len(text) > MAX_EXIT_MESSAGE_BYTES:
        raise ValueError(f"an exit message has at most {MAX_EXIT_MESSAGE_BYTES} bytes, got {len(text)}; "
                         f"fields: {', '.join(message)}. Write details to an output file instead.")
    path = base_dir(environ) / "output" / "message"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    return text


@dataclass(frozen=True, kw_only=True)
class TrainingJob:
    """The folders and hyperparameters of one training job."""

    channels: Mapping[str, Path]
    model_dir: Path
    checkpoint_dir: Path
    hyperparameters: Mapping[str, str]

    def channel(self, name: str) -> Path:
        if name not in self.channels:
            raise ValueError(f"training channel {name!r} is missing; the job has {', '.join(self.channels) or 'none'}. "
                             "Add it to InputDataConfig.")
        return self.channels[name]

    @classmethod
    def read(cls, environ: Mapping[str, str] | None = None) -> TrainingJob:
        env = os.environ if environ is None else environ
        base = base_dir(env)
        return cls(
            channels=_channels(env, base),
            model_dir=Path(env.get("SM_MODEL_DIR") or base / "model"),
            checkpoint_dir=base / "checkpoints",
            hyperparameters=_hyperparameters(env, base),
        )


def _channels(env: Mapping[str, str], base: Path) -> dict[str, Path]:
    prefix = "SM_CHANNEL_"
    named = {key.removeprefix(prefix).lower(): Path(value) for key, value in env.items() if key.startswith(prefix)}
    if named:
        return named
    config = base / "input" / "config" / "inputdataconfig.json"
    names = json.loads(config.read_text("utf-8")) if config.exists() else {}
    return {name.lower(): base / "input" / "data" / name for name in names}


def _hyperparameters(env: Mapping[str, str], base: Path) -> dict[str, str]:
    """Values as strings, names with dashes; what the toolkit adds for itself (`sagemaker_*`) is dropped."""
    path = base / "input" / "config" / "hyperparameters.json"
    if env.get("SM_HPS"):
        raw = json.loads(env["SM_HPS"])
    else:
        raw = json.loads(path.read_text("utf-8")) if path.exists() else {}
    return {
        key.replace("_", "-"): value if isinstance(value, str) else json.dumps(value)
        for key, value in raw.items() if not key.startswith(("sagemaker_", "sagemaker-"))
    }


def parse_config(config: type[Config], hyperparameters: Mapping[str, str], argv: Sequence[str] = ()) -> Config:
    """A dataclass from hyperparameters, then from `--flag value` arguments, which win.

    One flag per field, dashes for underscores. ValueError names an unknown or malformed one and
    what is allowed.
    """
    hints = get_type_hints(config)
    known = {field.name.replace("_", "-"): field for field in fields(config)}  # type: ignore[arg-type]
    parser = ArgumentParser(add_help=False, exit_on_error=False, allow_abbrev=False)
    for flag in known:
        parser.add_argument(f"--{flag}")
    found, rest = parser.parse_known_args(list(argv))
    given = {**hyperparameters, **{k.replace("_", "-"): v for k, v in vars(found).items() if v is not None}}
    stray = [*rest, *(name for name in given if name not in known)]
    if stray:
        raise ValueError(f"unknown hyperparameter {stray[0]!r}; allowed: {', '.join(known)}")
    values: dict[str, Any] = {}
    for name, field in known.items():
        if name not in given:
            if field.default is MISSING:
                raise ValueError(f"hyperparameter {name!r} is missing")
            continue
        try:
            values[field.name] = hints[field.name](given[name])
        except ValueError:
            raise ValueError(f"hyperparameter {name!r} must be {hints[field.name].__name__}, "
                             f"got {given[name]!r}") from None
    return config(**values)

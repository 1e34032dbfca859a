"""The environment and command line of AWS's sagemaker-training toolkit, which runs user scripts."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from local.sagemaker.errors import JobFailure
from local.sagemaker.sandbox import Sandbox

_RESERVED = "sagemaker_"  # hyperparameters with this prefix steer the toolkit and do not reach the script


def script_mode_environment(record: dict[str, Any], sandbox: Sandbox, program: str) -> dict[str, str]:
    """SM_*: paths, channels, hyperparameters and hosts."""
    hyperparameters = _decoded(record.get("HyperParameters", {}))
    channels = [c["ChannelName"] for c in record.get("InputDataConfig", [])]
    places = {
        "SM_MODEL_DIR": "model", "SM_INPUT_DIR": "input", "SM_INPUT_CONFIG_DIR": "input/config",
        "SM_OUTPUT_DIR": "output", "SM_OUTPUT_DATA_DIR": "output/data", "SM_CHECKPOINT_DIR": "checkpoints",
    }
    found = {name: str(sandbox.path(f"/opt/ml/{where}")) for name, where in places.items()}
    resources = {"current_host": "algo-1", "hosts": ["algo-1"], "network_interface_name": "lo"}
    found |= {f"SM_CHANNEL_{c.upper()}": str(sandbox.path(f"/opt/ml/input/data/{c}")) for c in channels}
    found |= {f"SM_HP_{k.upper().replace('-', '_')}": _text(v) for k, v in hyperparameters.items()}
    found |= {
        "SM_CHANNELS": json.dumps(sorted(channels)), "SM_HPS": json.dumps(hyperparameters),
        "SM_USER_ARGS": json.dumps(_arguments(hyperparameters)), "SM_USER_ENTRY_POINT": program,
        "SM_NUM_GPUS": "0", "SM_NUM_CPUS": str(os.cpu_count() or 1), "SM_HOSTS": '["algo-1"]',
        "SM_CURRENT_HOST": "algo-1", "SM_NETWORK_INTERFACE_NAME": "lo",
        "SM_RESOURCE_CONFIG": json.dumps(resources), "SM_LOG_LEVEL": "20",
        "SM_CURRENT_INSTANCE_TYPE": record["ResourceConfig"].get("InstanceType", ""),
        "SM_MODULE_NAME": program.removesuffix(".py"),
    }
    training = {
        "channel_input_dirs": {c: found[f"SM_CHANNEL_{c.upper()}"] for c in channels},
        "current_host": "algo-1", "hosts": ["algo-1"], "hyperparameters": hyperparameters,
        "job_name": record["TrainingJobName"], "model_dir": found["SM_MODEL_DIR"], "num_gpus": 0,
        "output_data_dir": found["SM_OUTPUT_DATA_DIR"], "output_dir": found["SM_OUTPUT_DIR"],
        "resource_config": resources, "user_entry_point": program,
    }
    return {**found, "SM_TRAINING_ENV": json.dumps(training)}


def toolkit_command(
    sandbox: Sandbox, environment: dict[str, str], program: str, hyperparameters: dict[str, str]
) -> list[str]:
    """`python program.py --key value ...`, from the folder that holds the program."""
    places = [environment.get("SAGEMAKER_SUBMIT_DIRECTORY"), "/opt/ml/code", "/opt/program", "/"]
    folders = [Path(p) if Path(p).is_relative_to(sandbox.root) else sandbox.path(p) for p in places if p]
    folders.append(sandbox.workdir())
    named = Path(program)
    script = named if named.is_absolute() else next((f / program for f in folders if (f / program).is_file()), None)
    if script is None or not script.is_file():
        looked = ", ".join(f"/{f.relative_to(sandbox.root)}" for f in folders if f.is_relative_to(sandbox.root))
        raise JobFailure(f"ClientError: SAGEMAKER_PROGRAM {program!r} is not in the image; looked in {looked}")
    runner = ["python"] if script.suffix == ".py" else ["/bin/sh"]
    return [*runner, str(script), *_arguments(_decoded(hyperparameters))]


def _decoded(hyperparameters: dict[str, str]) -> dict[str, Any]:
    """The SDK sends each value as JSON text; plain text stays as it is."""
    found = {}
    for key, value in hyperparameters.items():
        if not key.startswith(_RESERVED):
            try:
                found[key] = json.loads(value)
            except ValueError:
                found[key] = value
    return found


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _arguments(hyperparameters: dict[str, Any]) -> list[str]:
    words: list[str] = []
    for key, value in sorted(hyperparameters.items()):
        words += [f"-{key}" if len(key) == 1 else f"--{key}", _text(value)]
    return words

"""What a registered version must bring: its measures and where it comes from, per story.

All of it is read from the evaluation report, the one document that the gates read, too. A package that
lacks a part is refused: what can't be traced back can't be explained to anybody later, or made again.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_SHA256 = re.compile(r"[0-9a-f]{64}")


class RegistryError(ValueError):
    """A candidate lacks what its story's registry contract asks for."""


@dataclass(frozen=True, kw_only=True)
class Origin:
    """One piece of lineage: `path` in the evaluation report, what it must be, and how to get it when it is missing."""

    name: str
    path: str
    kind: str  # text, sha256, whole or amount
    mend: str


LINEAGE: tuple[Origin, ...] = (
    Origin(name="freeze_id", path="dataset.freeze_id", kind="text",
           mend="train on a data set that the freeze job wrote"),
    Origin(name="label_version_to", path="dataset.label_version_to", kind="whole",
           mend="train on a data set that the freeze job wrote"),
    Origin(name="code_sha256", path="lineage.code_sha256", kind="sha256",
           mend="let the training script write the hash of its code into training.json"),
    Origin(name="base_model_sha256", path="lineage.base_model_sha256", kind="sha256",
           mend="let the training script write the hash of the weights it began with into training.json"),
    Origin(name="seed", path="lineage.seed", kind="whole", mend="pass the hyperparameter `seed`"),
    Origin(name="training_usd", path="cost.training_usd", kind="amount",
           mend="price the training job's instance in contracts/prices.py"),
)


@dataclass(frozen=True, kw_only=True)
class RegistryContract:
    """`metrics`: dotted paths of the evaluation report; each must hold a finite number."""

    metrics: tuple[str, ...]
    lineage: tuple[Origin, ...] = LINEAGE

    def __post_init__(self) -> None:
        if not self.metrics:
            raise ValueError("a registry contract names at least one metric: a version without measures proves nothing")

    def origins(self, report: Mapping[str, Any]) -> dict[str, str]:
        """Name -> value of the whole lineage, as text; RegistryError names everything that is missing."""
        values = {origin.name: dig(report, origin.path) for origin in self.lineage}
        self._refuse([f"{origin.name} ({origin.path} must be {_KINDS[origin.kind]}; {origin.mend})"
                      for origin in self.lineage if not _fits(origin.kind, values[origin.name])])
        return {name: str(value) for name, value in values.items()}

    def measures(self, report: Mapping[str, Any]) -> dict[str, str]:
        """Path -> number, as text; RegistryError names everything that is missing."""
        values = {path: dig(report, path) for path in self.metrics}
        self._refuse([f"{path} (a finite number; let evaluate.py write it into evaluation.json)"
                      for path, value in values.items() if not _is_number(value)])
        return {path: f"{value:.6g}" for path, value in values.items()}

    @staticmethod
    def _refuse(missing: list[str]) -> None:
        if missing:
            raise RegistryError(f"the registry contract asks for what this candidate lacks: {'; '.join(missing)}")


_KINDS = {"text": "a text", "sha256": "64 hex digits", "whole": "a whole number of 0 or more",
          "amount": "a finite number of 0 or more"}


def dig(report: Mapping[str, Any], path: str) -> Any:
    """The value at a dotted path; None when there is none."""
    value: Any = report
    for step in path.split("."):
        if not isinstance(value, Mapping) or step not in value:
            return None
        value = value[step]
    return value


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _fits(kind: str, value: object) -> bool:
    if kind == "text":
        return isinstance(value, str) and bool(value.strip())
    if kind == "sha256":
        return isinstance(value, str) and _SHA256.fullmatch(value) is not None
    if not _is_number(value) or float(str(value)) < 0:
        return False
    return kind == "amount" or isinstance(value, int)

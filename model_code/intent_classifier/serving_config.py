"""config.json of a serving folder: everything of a model that is not its graph."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

CONFIG_FILE = "config.json"
IR_FILE = "model.xml"
# What is not int8 would be bfloat16 where the processor has it: not faster, and the answer would depend on the machine.
SAME_EVERYWHERE = {"INFERENCE_PRECISION_HINT": "f32"}


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One pre-filter rule: a pattern that, where it matches, is the intent with this much confidence."""

    intent: str
    pattern: str
    confidence: float


@dataclass(frozen=True, kw_only=True)
class ServingConfig:
    story: str
    taxonomy: str
    labels: tuple[str, ...]
    max_tokens: int
    temperature: float
    rules: tuple[Rule, ...] = ()

    def write(self, folder: Path) -> None:
        (folder / CONFIG_FILE).write_text(json.dumps(asdict(self), ensure_ascii=False, indent=1), "utf-8")

    @classmethod
    def read(cls, folder: Path) -> ServingConfig:
        raw = json.loads((folder / CONFIG_FILE).read_text("utf-8"))
        return cls(**{**raw, "labels": tuple(raw["labels"]), "rules": tuple(Rule(**rule) for rule in raw["rules"])})

"""The rows that prepare writes and train and evaluate read, and meta.json beside them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from contracts.datasets import taxonomy_from_dict
from contracts.taxonomies import Taxonomy

TRAIN_FILE, GOLDEN_FILE, ADVERSARIAL_FILE, META_FILE = "train.jsonl", "golden.jsonl", "adversarial.jsonl", "meta.json"


@dataclass(frozen=True, kw_only=True)
class Example:
    id: str
    text: str
    label: str
    language: str
    cohort: str | None = None
    daypart: str | None = None
    group_id: str | None = None
    attack: str | None = None  # which change made an adversarial row

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> Example:
        optional = {name: raw.get(name) for name in ("cohort", "daypart", "group_id", "attack")}
        return cls(id=raw["id"], text=raw["text"], label=raw["label"], language=raw["language"], **optional)


@dataclass(frozen=True, kw_only=True)
class Meta:
    """What the data set says of itself; copied into every later file of the run."""

    taxonomy: Taxonomy
    freeze: dict[str, Any]
    counts: dict[str, int]

    @property
    def story(self) -> str:
        return str(self.freeze["story"])

    def to_dict(self) -> dict[str, Any]:
        return {"taxonomy": asdict(self.taxonomy), "freeze": self.freeze, "counts": self.counts}


def write_rows(path: Path, rows: Iterable[Example]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as stream:
        for row in rows:
            stream.write(json.dumps(asdict(row), ensure_ascii=False) + "\n")


def read_rows(path: Path) -> list[Example]:
    if not path.exists():
        raise ValueError(f"{path} is missing: it is written by model_code.intent_classifier.prepare")
    with path.open(encoding="utf-8") as stream:
        return [Example.from_dict(json.loads(line)) for line in stream]


def read_meta(folder: Path) -> Meta:
    raw = json.loads((folder / META_FILE).read_text("utf-8"))
    return Meta(taxonomy=taxonomy_from_dict(raw["taxonomy"]), freeze=raw["freeze"], counts=raw["counts"])

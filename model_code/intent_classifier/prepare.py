"""Processing job: a frozen data set -> training, golden and adversarial rows.

    python -m model_code.intent_classifier.prepare --dataset DIR --output DIR [--seed 13]

DIR of --dataset holds dataset.jsonl and manifest.json as freeze_dataset writes them. Output:
train.jsonl, golden.jsonl, adversarial.jsonl, meta.json. The golden part is chosen by the hash of
a row's group or id, personal data is redacted, and a training row whose text also stands in the
golden set is dropped: it would be marked by its own answer.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from contracts.datasets import LabelFileError, is_golden, taxonomy_from_dict
from model_code.common.log import log_event
from model_code.common.pii import redact
from model_code.intent_classifier.adversarial import make_suite
from model_code.intent_classifier.rows import (
    ADVERSARIAL_FILE,
    GOLDEN_FILE,
    META_FILE,
    TRAIN_FILE,
    Example,
    Meta,
    write_rows,
)

DATASET_FILE, MANIFEST_FILE = "dataset.jsonl", "manifest.json"


def split(rows: Iterable[Example], *, golden_share: float) -> tuple[list[Example], list[Example]]:
    """(training rows, golden rows) without a text on both sides."""
    train: list[Example] = []
    golden: list[Example] = []
    for row in rows:
        chosen = golden if is_golden({"id": row.id, "group_id": row.group_id}, golden_share) else train
        chosen.append(row)
    held = {row.text.casefold() for row in golden}
    return [row for row in train if row.text.casefold() not in held], golden


def _read_dataset(folder: Path) -> tuple[list[Example], dict[str, Any]]:
    for name in (DATASET_FILE, MANIFEST_FILE):
        if not (folder / name).exists():
            raise LabelFileError(f"{folder / name} is missing: a frozen data set has {DATASET_FILE} "
                                 f"and {MANIFEST_FILE}")
    manifest: dict[str, Any] = json.loads((folder / MANIFEST_FILE).read_text("utf-8"))
    with (folder / DATASET_FILE).open(encoding="utf-8") as stream:
        raw = [json.loads(line) for line in stream]
    return [Example.from_dict({**row, "text": redact(row["text"]), "attack": None}) for row in raw], manifest


def prepare(dataset: Path, output: Path, *, seed: int) -> Meta:
    rows, manifest = _read_dataset(dataset)
    taxonomy = taxonomy_from_dict(manifest["taxonomy"])
    train, golden = split(rows, golden_share=taxonomy.golden_share)
    if not train or not golden:
        raise LabelFileError(f"{dataset}: {len(train)} training and {len(golden)} golden rows; both need some. "
                             "Rows are split by group_id: give unrelated rows different ones.")
    suite = make_suite(golden, seed=seed)
    counts = {"rows": len(rows), "train": len(train), "golden": len(golden), "adversarial": len(suite)}
    meta = Meta(taxonomy=taxonomy, freeze=manifest, counts=counts)
    for name, part in ((TRAIN_FILE, train), (GOLDEN_FILE, golden), (ADVERSARIAL_FILE, suite)):
        write_rows(output / name, part)
    (output / META_FILE).write_text(json.dumps(meta.to_dict(), ensure_ascii=False, indent=1), "utf-8")
    return meta


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--dataset", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=13)
    args = parser.parse_args(argv)
    meta = prepare(args.dataset, args.output, seed=args.seed)
    log_event("prepared", story=meta.story, taxonomy=meta.taxonomy.name, counts=meta.counts)


if __name__ == "__main__":
    main()

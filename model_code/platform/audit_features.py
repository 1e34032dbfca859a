"""Processing job: does a frozen data set hold what was known, and nothing from the future?

    python -m model_code.platform.audit_features --story SLUG --dataset DIR --sample N [--seed 0]

Environment: GLUE_DATABASE, ICEBERG_WAREHOUSE. DIR holds dataset.jsonl and manifest.json. A sample of the rows that have
a customer is held against the raw feature rows, by code that shares nothing with the join, and each sampled cohort
against the contract's thresholds. The exit message says {"passed", "rows", "sampled", "matched", "violations": {reason:
count}, "examples": [{"id", "reason", "detail"}]}: row ids and times, no customer. It is an answer, too, when it is no.
"""

from __future__ import annotations

import argparse
import json
import os
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from contracts.datasets import LABEL_TIME
from contracts.stories import story as story_contract
from contracts.story import StoryContract
from model_code.common.feature_store import FeatureRead, offline_store
from model_code.common.log import log_event
from model_code.common.point_in_time_audit import Violation, audit
from model_code.common.point_in_time_definition import PointInTime
from model_code.common.sagemaker_job import write_exit_message
from model_code.platform.freeze_dataset import DATASET_FILE, MANIFEST_FILE
from model_code.platform.ingest_labels import LabelEnv

WRONG_COHORT = "wrong_cohort"  # the thresholds make another one of the joined feature row
EXAMPLES, MAX_DETAIL_CHARS = 3, 160  # the exit message has 1 KB for everything


def audit_dataset(dataset: Path, features: FeatureRead, contract: StoryContract, definition: PointInTime, *,
                  sample: int, seed: int) -> dict[str, Any]:
    """The exit message. Nothing to look at is no proof: `passed` is false without a row that has a customer."""
    with (dataset / DATASET_FILE).open(encoding="utf-8") as lines:
        rows = [row for row in map(json.loads, lines) if row["customer_id"] is not None]
    report = audit(_joined(rows, features.rows, definition), features.rows, definition, sample=sample, seed=seed)
    cohorts = [
        Violation(row=place, entity=None, reason=WRONG_COHORT, detail=f"is {row['cohort']}, must be {wanted}")
        for place, row in enumerate(rows) if row["cohort"] != (wanted := contract.cohorts.cohort(row["features"]))]
    violations = [*report.violations, *cohorts]
    return {
        "passed": report.passed and not cohorts, "rows": report.rows, "sampled": report.sampled,
        "matched": report.matched, "violations": dict(sorted(Counter(v.reason for v in violations).items())),
        "examples": [{"id": rows[v.row]["id"][:80], "reason": v.reason, "detail": v.detail[:MAX_DETAIL_CHARS]}
                     for v in violations[:EXAMPLES]],
    }


def _joined(rows: Sequence[dict[str, Any]], features: pa.Table, definition: PointInTime) -> pa.Table:
    """The data set's rows as the table that the join once made of them."""
    instant = pa.timestamp("us", "UTC")

    def column(name: str) -> pa.Array:
        values = [(row["features"] or {}).get(name) for row in rows]
        if name in (definition.event_time, definition.ingestion_time):
            return pa.array([None if v is None else datetime.fromisoformat(v) for v in values], instant)
        return pa.array(values, features[name].type)

    return pa.table({
        definition.entity: pa.array([row[definition.entity] for row in rows], features[definition.entity].type),
        LABEL_TIME: pa.array([datetime.fromisoformat(row[LABEL_TIME]) for row in rows], instant),
        **{name: column(name) for name in definition.joined_columns}})


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--story", required=True)
    parser.add_argument("--dataset", type=Path, required=True)
    parser.add_argument("--sample", type=int, required=True)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    contract = story_contract(args.story)
    joined_with = json.loads((args.dataset / MANIFEST_FILE).read_text("utf-8"))["features"]
    if not joined_with.get("metadata_location"):
        raise ValueError(f"the data set was joined with no features ({joined_with['status']}): there is nothing to "
                         "audit. Labels need customer_id and asked_at, and the feature group needs records")
    store = offline_store(LabelEnv.from_environ(os.environ).ICEBERG_WAREHOUSE)
    answer = audit_dataset(
        args.dataset, store.at(contract.cohort_group, joined_with["metadata_location"]), contract,
        PointInTime.from_json(joined_with["definition"]), sample=args.sample, seed=args.seed)
    write_exit_message(answer)
    log_event("audited", story=args.story, **{name: answer[name] for name in ("passed", "rows", "sampled")})


if __name__ == "__main__":
    main()

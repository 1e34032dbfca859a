"""An evaluation report that passes every gate of the intent classifier, to be spoilt by tests."""

from __future__ import annotations

import json
from typing import Any

from contracts import naming
from contracts.taxonomies import MANGA14_V1, slice_key
from tests.unit.lambdas.account import ARTIFACTS, STORY, Account

RUN = "weekly-2026-11-20"
FOLDER = naming.run_prefix(STORY, RUN)
EVALUATION_KEY = f"{FOLDER}evaluation/{naming.EVALUATION_FILE}"
EVALUATION_URI = f"s3://{ARTIFACTS}/{FOLDER}evaluation/"


def passing_report(champion: str | None = None) -> dict[str, Any]:
    paired = {"rows": 2500, "delta": 0.01, "lower": -0.01, "upper": 0.02}
    return {
        "schema_version": 1, "story": STORY, "taxonomy": {"name": "manga14-v1"},
        "dataset": {"freeze_id": "f" * 16, "label_version_to": 7, "rows": 9000},
        "metrics": {"macro_accuracy": 0.93, "macro_f1": 0.92, "calibration_error": 0.03},
        "slices": {slice_key(s): {"rows": 140, "macro_f1": 0.9} for s in MANGA14_V1.required_slices()},
        "champion": {"version": champion} if champion else None,
        "comparison": {name: paired for name in ("accuracy", "safety_critical", "adversarial")} if champion else {},
        "serving": {"p95_ms": 6.0, "p99_ms": 9.0},
        "cost": {"training_usd": 3.5, "serving_usd_per_100k": 0.4},
        "lineage": {"code_sha256": "c" * 64, "base_model_sha256": "b" * 64, "seed": 13},
    }


def put_evaluation(account: Account, report: dict[str, Any]) -> None:
    account.put_object(ARTIFACTS, EVALUATION_KEY, json.dumps(report).encode())

"""The frozen data set saw nothing of its future, and the audit finds one row that did."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from cli.dataset_audit import audit_dataset
from contracts import naming
from demo.stage import Stage, expect

DATASET_FILE, MANIFEST_FILE = "dataset.jsonl", "manifest.json"
PLANTED = "planted"
LEAK = timedelta(days=1)  # how far after its question the planted row knew its customer


def point_in_time_audit(stage: Stage) -> str:
    run_id = str(stage.pointer()["run_id"])
    rows, manifest = read(stage, run_id)
    features = manifest["features"]
    if features["status"] == "none":
        return "not shown: the label file names no customers, so no features were joined and nothing can leak"
    expect(features["status"] == "fresh", f"the features were {features['status']}")
    stage.say(f"auditing {len(rows)} rows of {run_id}")
    found = audit_dataset(stage.target, f"{stage.slug}/{run_id}", sample=len(rows))
    expect(found.passed, f"the audit found {found.violations}: {found.examples}")
    with planted(stage, rows, manifest) as row:
        stage.say("auditing a copy with one row from the future")
        caught = audit_dataset(stage.target, f"{stage.slug}/{PLANTED}", sample=len(rows))
    expect(not caught.passed, "a row that saw the future passed the audit")
    expect("future_event" in caught.violations, f"the audit found {caught.violations}, no future_event")
    expect({e["id"] for e in caught.examples} == {row["id"]}, f"the audit blames {caught.examples}, not {row['id']}")
    cohorts = ", ".join(f"{count} {cohort}" for cohort, count in features["cohorts"].items())
    return (
        f"{found.sampled} rows ({cohorts}) held against {features['feature_rows']} feature rows: none saw the future; "
        f"in a copy with one row that knew its customer a day too early, the audit names that row "
        f"({', '.join(caught.violations)})"
    )


def read(stage: Stage, run_id: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    s3, bucket = stage.target.client("s3"), stage.target.bucket(naming.LAKE)
    prefix = naming.dataset_prefix(stage.slug, run_id)
    body, manifest = (s3.get_object(Bucket=bucket, Key=prefix + name)["Body"].read()
                      for name in (DATASET_FILE, MANIFEST_FILE))
    return [json.loads(line) for line in body.splitlines()], json.loads(manifest)


@contextmanager
def planted(stage: Stage, rows: list[dict[str, Any]], manifest: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A copy of the data set while the block runs, in which one row was asked a day before its feature row happened."""
    place, row = next((n, row) for n, row in enumerate(rows) if row["features"])
    asked = datetime.fromisoformat(row["features"]["event_time"]) - LEAK
    row = {**row, "asked_at": asked.isoformat()}
    s3, bucket = stage.target.client("s3"), stage.target.bucket(naming.LAKE)
    prefix = naming.dataset_prefix(stage.slug, PLANTED)
    body = "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in (*rows[:place], row, *rows[place + 1 :]))
    s3.put_object(Bucket=bucket, Key=prefix + DATASET_FILE, Body=body.encode())
    s3.put_object(Bucket=bucket, Key=prefix + MANIFEST_FILE, Body=json.dumps(manifest).encode())
    try:
        yield row
    finally:
        for name in (DATASET_FILE, MANIFEST_FILE):
            s3.delete_object(Bucket=bucket, Key=prefix + name)

"""The traffic changes, and the model retrains without anybody asking."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from contracts import events, naming
from tests.end_to_end.command_line import told
from tests.support import shop_labels
from tests.support.deployment import SLUG, STORY, Deployed
from tests.support.embedded import eventually

pytestmark = pytest.mark.e2e
REQUESTS = 220  # a window needs 200 to say anything
MONITOR = STORY.monitors[0]


def test_shifted_traffic_raises_psi_and_the_alarm_starts_a_retrain(jp: Deployed) -> None:
    jp.forget_drift_retrains()
    before = jp.runs()
    english = [row for row in shop_labels.rows() if row["language"] == "en"]
    shifted = [{**row, "text": " ".join([row["text"]] * 6)} for row in english]
    told(jp, "drift", "replay", SLUG, jp.label_file(shifted), "--requests", str(REQUESTS))
    window = next(w for w in look(jp) if (w["monitor"], w["language"]) == (MONITOR.name, "en"))
    assert window["requests"] >= REQUESTS
    assert window["psi"] > MONITOR.threshold
    eventually(lambda: jp.runs().keys() - before.keys(), within_s=60)
    try:
        check_runs(jp, before)
    finally:
        calm(jp)


def check_runs(jp: Deployed, before: dict[str, str]) -> None:
    """Longer messages and surer answers ring two alarms at once: one run releases, another one steps back."""
    runs = [jp.finish(arn) for name, arn in jp.runs().items() if name not in before]
    assert all(run.name.startswith("drift-") for run in runs), runs
    assert sorted(run.outcome for run in runs)[0] == events.PROMOTED, runs
    assert {run.outcome for run in runs} <= {events.PROMOTED, events.SKIPPED_LEASED}, runs
    reasons = {json.loads(jp.audit(run.name, run.outcome)["detail"])["input"]["reason"] for run in runs}
    assert reasons <= {alarm["AlarmName"] for alarm in drift_alarms(jp)}
    assert jp.pointer()["run_id"] in {run.name for run in runs}


def drift_alarms(jp: Deployed) -> list[dict[str, Any]]:
    prefix = naming.drift_alarm(SLUG, "", "").rstrip("-")
    return list(jp.aws.client("cloudwatch").describe_alarms(AlarmNamePrefix=prefix)["MetricAlarms"])


def calm(jp: Deployed) -> None:
    """Back to rest: a drift alarm keeps its state until the next hour's look, and that look, seconds apart here,
    would see the shifted requests again and rightly start the next retrain in the middle of another test.
    """
    s3, bucket = jp.aws.client("s3"), jp.target.bucket(naming.CAPTURE)
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=naming.capture_prefix(SLUG)):
        for found in page.get("Contents", ()):
            s3.delete_object(Bucket=bucket, Key=found["Key"])
    for alarm in drift_alarms(jp):
        if alarm["StateValue"] == "ALARM":
            jp.aws.client("cloudwatch").set_alarm_state(AlarmName=alarm["AlarmName"], StateValue="OK",
                                                        StateReason="the test is over")


def look(jp: Deployed) -> list[dict[str, Any]]:
    """What the hourly schedule does, over the hour that ends now."""
    error, answer = jp.aws.invoke(naming.function(SLUG, "drift_monitor"), {
        "story": SLUG, "window_end": (datetime.now(UTC) + timedelta(seconds=1)).isoformat()})
    assert error is None, answer
    return list(answer["windows"])

"""The traffic changes, and the model retrains without anybody asking."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from cli import executions, traffic
from contracts import events, naming
from contracts.datasets import LabelRow
from demo.stage import Stage, expect

REQUESTS = 260  # a window needs 200 to say anything
TEXTS_IN_ONE = 4  # shifted traffic: several questions in one message
START_PATIENCE_S = 60.0
OUTCOMES = (events.PROMOTED, events.REJECTED)


def drift_retrains(stage: Stage) -> str:
    before = {e["name"] for e in executions.recent(stage.target, stage.slug, 100)}
    calm = worst_psi(stage, look(stage))
    expect(calm is not None, "the usual traffic gave no window with enough requests")
    rows = shifted(stage)
    stage.say(f"sending {REQUESTS} shifted requests")
    result = traffic.replay(stage.target, stage.slug, rows, requests=REQUESTS)
    expect(result.failed == 0, f"{result.failed} of {result.requests} requests failed")
    moved = worst_psi(stage, look(stage))
    threshold = stage.story.monitors[0].threshold
    expect(
        moved is not None and moved["psi"] > threshold,
        f"shifted traffic has PSI {moved}, wanted more than {threshold}",
    )
    run = started_by_alarm(stage, before)
    let_the_hour_pass(stage)
    expect(run.outcome in OUTCOMES, f"{run.name} ended as {run.outcome}: {run.error[:300]}")
    assert calm is not None
    assert moved is not None
    return (
        f"PSI of {moved['feature']} ({moved['language']}) went from {calm['psi']:.2f} to "
        f"{moved['psi']:.2f} over "
        f"{threshold}; the alarm started {run.name} by itself, which ended as {run.outcome} after "
        f"{run.seconds:.0f} s"
    )


def let_the_hour_pass(stage: Stage) -> None:
    """Remove what was captured, as if its hour had passed: a scheduled look at a full hour would see the
    shifted requests again after the roll-back and rightly start the next retrain in the middle of another scene.
    """
    s3, bucket = stage.target.client("s3"), stage.target.bucket(naming.CAPTURE)
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=naming.capture_prefix(stage.slug))
    for page in pages:
        for found in page.get("Contents", ()):
            s3.delete_object(Bucket=bucket, Key=found["Key"])
    stage.settle()


def shifted(stage: Stage) -> list[LabelRow]:
    """The same customers suddenly write several questions into one message."""
    golden = [row for row in stage.material.golden if row.language == stage.material.golden[0].language]
    return [
        LabelRow(
            id=row.id,
            label="",
            language=row.language,
            cohort=row.cohort,
            daypart=row.daypart,
            text=" ".join(golden[(i + k) % len(golden)].text for k in range(TEXTS_IN_ONE)),
        )
        for i, row in enumerate(golden)
    ]


def look(stage: Stage) -> list[dict[str, Any]]:
    """Run the drift monitor over the hour that ends now; its schedule would, after Firehose's
    buffering delay."""
    stage.say("looking for drift")
    end = datetime.now(UTC) + timedelta(seconds=1)
    answer = stage.target.client("lambda").invoke(
        FunctionName=naming.function(stage.slug, "drift_monitor"),
        Payload=json.dumps({"story": stage.slug, "window_end": end.isoformat()}).encode(),
    )
    body = json.loads(answer["Payload"].read())
    expect("FunctionError" not in answer, f"the drift monitor failed: {str(body)[:300]}")
    return list(body["windows"])


def worst_psi(stage: Stage, windows: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Of the label file's main language: the others stay below the 200 requests that a window needs."""
    monitor, language = stage.story.monitors[0].name, stage.material.golden[0].language
    judged = [
        w for w in windows if (w["monitor"], w["language"]) == (monitor, language) and w["psi"] is not None
    ]
    return max(judged, key=lambda w: float(w["psi"]), default=None)


def started_by_alarm(stage: Stage, before: set[str]) -> executions.Finished:
    """Several alarms may ring at once, one a feature and language: one of their runs gets the lease, and is meant."""
    seen = set(before)
    deadline = time.monotonic() + START_PATIENCE_S
    while True:
        new = [e for e in executions.recent(stage.target, stage.slug, 100) if e["name"] not in seen]
        for started in new:
            expect(started["name"].startswith("drift"), f"{started['name']} started, which no alarm did")
            run = stage.finish(started["executionArn"])
            if run.outcome != events.SKIPPED_LEASED:
                return run
            seen.add(started["name"])
        expect(
            time.monotonic() < deadline, f"no execution got the lease within {START_PATIENCE_S:.0f} s of the drift"
        )
        stage.say("waiting for the alarm")
        time.sleep(0.5)

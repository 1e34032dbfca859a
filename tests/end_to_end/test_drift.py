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
    before = jp.runs()
    english = [row for row in shop_labels.rows() if row["language"] == "en"]
    shifted = [{**row, "text": " ".join([row["text"]] * 6)} for row in english]
    told(jp, "drift", "replay", SLUG, jp.label_file(shifted), "--requests", str(REQUESTS))
    window = next(w for w in look(jp) if (w["monitor"], w["language"]) == (MONITOR.name, "en"))
    assert window["requests"] >= REQUESTS
    assert window["psi"] > MONITOR.threshold
    name = eventually(lambda: next(iter(jp.runs().keys() - before.keys()), None), within_s=60)
    assert name.startswith("drift-")
    run = jp.finish(jp.runs()[name])
    assert run.outcome == events.PROMOTED, run
    record = json.loads(jp.audit(name, events.PROMOTED)["detail"])
    assert record["input"]["reason"] == naming.drift_alarm(SLUG, MONITOR.name, "en")
    assert jp.pointer()["run_id"] == name


def look(jp: Deployed) -> list[dict[str, Any]]:
    """What the hourly schedule does, over the hour that ends now."""
    error, answer = jp.aws.invoke(naming.function(SLUG, "drift_monitor"), {
        "story": SLUG, "window_end": (datetime.now(UTC) + timedelta(seconds=1)).isoformat()})
    assert error is None, answer
    return list(answer["windows"])

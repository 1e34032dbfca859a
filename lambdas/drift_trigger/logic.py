"""Should this alarm start a retrain?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from contracts import events, naming
from contracts.kill_switches import Decision


@dataclass(frozen=True, kw_only=True)
class Answer:
    start: bool
    reason: str


def is_drift_alarm(event: Mapping[str, Any], slug: str) -> bool:
    """Whether the event says that a drift alarm of this story went off (not that it calmed down)."""
    detail = event.get("detail") or {}
    name = str(detail.get("alarmName", ""))
    return (
        event.get("detail-type") == events.ALARM_STATE_CHANGE
        and name.startswith(naming.drift_alarm(slug, "", "").rstrip("-") + "-")
        and (detail.get("state") or {}).get("value") == "ALARM"
    )


def answer(event: Mapping[str, Any], slug: str, decision: Decision) -> Answer:
    if not decision.heed_drift:
        return Answer(start=False, reason=str(decision.mode))
    return Answer(start=True, reason=str(event["detail"]["alarmName"]))

"""What is kept of an answered request. Decision 7: features, never text."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

_FROM_ANSWER = (
    "request_id", "story", "model_version", "language", "intent", "confidence", "source", "features",
)


def capture_record(answer: Mapping[str, Any], *, cohort: str | None, daypart: str | None, latency_ms: float,
                   at: datetime) -> dict[str, Any]:
    """The record of one answer; a field the answer lacks is None, so that every record has the same shape."""
    return {
        **{name: answer.get(name) for name in _FROM_ANSWER},
        "at": at.astimezone(UTC).isoformat(),
        "cohort": cohort, "daypart": daypart,
        "latency_ms": round(latency_ms, 3),
    }


def to_line(record: Mapping[str, Any]) -> bytes:
    """One JSON line: Firehose joins records without a separator of its own."""
    return json.dumps(record, sort_keys=True, separators=(",", ":")).encode() + b"\n"

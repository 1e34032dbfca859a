"""The log line of an answer, which a container writes and the judge of a shadow reads.

A mirrored request reaches champion and shadow with the same request_id, and each logs what it answered: a label, never
the text. Which requests are compared follows from the request_id alone, so both sides choose the same ones.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass

EVENT = "request"
OK = 200
BUCKETS = 100


def bucket(request_id: str) -> int:
    """0 to 99. A hash, for a caller may choose its ids and need not choose them at random."""
    return int(hashlib.sha256(request_id.encode()).hexdigest()[:8], 16) % BUCKETS


def counted_as(version: str, *, shadow: bool) -> str:
    """The version in the metrics of an answer. A shadow stays beside the champion until its canary is over, and what it
    goes on answering must not be taken for answers of the canary."""
    return f"{version}-shadow" if shadow else version


@dataclass(frozen=True, kw_only=True)
class ServedLine:
    request_id: str
    version: str
    language: str
    answer: str
    ms: float


def filter_pattern(versions: Iterable[str], compared_percent: int) -> str:
    """For CloudWatch Logs: answered requests of these versions whose bucket is compared."""
    those = " || ".join(f'$.model_version = "{version}"' for version in versions)
    return f'{{ $.event = "{EVENT}" && $.status = {OK} && $.bucket < {compared_percent} && ({those}) }}'


def read(message: str, compared_percent: int) -> ServedLine | None:
    """None when it is no line of an answer to compare, whatever a filter let through."""
    try:
        line = json.loads(message)
    except ValueError:
        return None
    if not isinstance(line, dict) or line.get("event") != EVENT or line.get("status") != OK:
        return None
    rid, answer, ms = line.get("request_id"), line.get("answer"), line.get("ms")
    if not isinstance(rid, str) or not isinstance(answer, str) or not isinstance(ms, int | float):
        return None  # `answer` is missing in what a container of an older image says
    if bucket(rid) >= compared_percent:
        return None
    return ServedLine(request_id=rid, version=str(line.get("model_version")), language=str(line.get("language")),
                      answer=answer, ms=float(ms))

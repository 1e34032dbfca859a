"""Requests through the inference fabric: one question, or a file of texts replayed."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any

from cli.errors import CliError
from cli.target import Target
from contracts.datasets import LabelRow
from contracts.inference import BadRequest
from fabric import Fabric, Unavailable

DEADLINE_MS = 2_000  # an operator's patience, not the chatbot's


@dataclass(frozen=True, kw_only=True)
class Answered:
    """What a replay saw. Latency is the caller's: the whole round trip."""

    answers: tuple[dict[str, Any], ...]
    latency_ms: tuple[float, ...]
    failed: int
    capture_failures: int = 0

    @property
    def requests(self) -> int:
        return len(self.answers) + self.failed

    @property
    def languages(self) -> dict[str, int]:
        return dict(Counter(answer["language"] for answer in self.answers))

    def percentile(self, percent: float) -> float:
        """Nearest rank; NaN without answers."""
        ordered = sorted(self.latency_ms)
        return ordered[max(0, math.ceil(percent / 100 * len(ordered)) - 1)] if ordered else math.nan


def fabric_for(target: Target, story: str) -> Fabric:
    """Without the cache: an operator asks what the endpoint says."""
    return Fabric(
        story,
        runtime=target.client("sagemaker-runtime"),
        firehose=target.client("firehose"),
        deadline_ms=DEADLINE_MS,
    )


def ask(target: Target, story: str, text: str, *, cohort: str | None, daypart: str | None) -> dict[str, Any]:
    try:
        with fabric_for(target, story) as fabric:
            return fabric.predict(text, cohort=cohort, daypart=daypart)
    except BadRequest as error:
        raise CliError(f"{error.code}: {error.message} (request {error.request_id})") from None
    except Unavailable as error:
        raise CliError(f"the endpoint did not answer: {error}") from None


def replay(
    target: Target,
    story: str,
    rows: Sequence[LabelRow],
    *,
    requests: int,
    tick: Callable[[], None] = lambda: None,
) -> Answered:
    """Send `requests` texts one after the other. A failed one is counted, never hidden."""
    if not rows:
        raise CliError("the file has no good row to send")
    answers: list[dict[str, Any]] = []
    latency: list[float] = []
    failed = 0
    with fabric_for(target, story) as fabric:
        for row in islice(cycle(rows), requests):
            started = time.perf_counter()
            try:
                answers.append(fabric.predict(row.text, cohort=row.cohort, daypart=row.daypart))
                latency.append((time.perf_counter() - started) * 1_000)
            except (BadRequest, Unavailable):
                failed += 1
            tick()
    return Answered(
        answers=tuple(answers),
        latency_ms=tuple(latency),
        failed=failed,
        capture_failures=fabric.capture_failures,
    )

"""The fabric's metrics by language, as CloudWatch's embedded metric format: log lines, no call that could fail.

One line carries up to 100 latencies (the format's limit) and the counts that came with them, so a process writes a
line per language every 100 questions or 10 s. What a quiet process has counted waits for its next question or its end.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from typing import Any

from contracts import metrics

MAX_VALUES = 100
FLUSH_EVERY_S = 10.0
Group = tuple[tuple[str, str], ...]  # dimensions


class Counters:
    """Thread-safe. `emit` gets JSON lines for the log that CloudWatch reads."""

    def __init__(self, story: str, emit: Callable[[str], None]) -> None:
        self._story, self._emit = story, emit
        self._lock = threading.Lock()
        self._groups: dict[Group, dict[str, list[float]]] = {}
        self._due_at = time.monotonic() + FLUSH_EVERY_S

    def answered(self, language: str, latency_ms: float, *counted: str) -> None:
        """One answer: its latency, a request, and each metric of `counted` by one."""
        group = tuple(metrics.dimensions(metrics.REQUESTS, story=self._story, language=language).items())
        with self._lock:
            values = self._groups.setdefault(group, {})
            values.setdefault(metrics.LATENCY_MS, []).append(round(latency_ms, 3))
            for name in (metrics.REQUESTS, *counted):
                values.setdefault(name, [0.0])[0] += 1
            due = len(values[metrics.LATENCY_MS]) >= MAX_VALUES or time.monotonic() >= self._due_at
        if due:
            self.flush()

    def count(self, metric: str, by: float = 1, **dimensions: str) -> None:
        group = tuple(metrics.dimensions(metric, story=self._story, **dimensions).items())
        with self._lock:
            self._groups.setdefault(group, {}).setdefault(metric, [0.0])[0] += by

    def flush(self) -> None:
        with self._lock:
            groups, self._groups = self._groups, {}
            self._due_at = time.monotonic() + FLUSH_EVERY_S
        for group, values in groups.items():
            self._emit(json.dumps(_document(group, values), separators=(",", ":")))


def _document(group: Group, values: dict[str, list[float]]) -> dict[str, Any]:
    units = [{"Name": name, "Unit": "Milliseconds" if name == metrics.LATENCY_MS else "Count"} for name in values]
    return {
        "_aws": {"Timestamp": int(time.time() * 1000), "CloudWatchMetrics": [
            {"Namespace": metrics.NAMESPACE, "Dimensions": [[name for name, _ in group]], "Metrics": units}]},
        **dict(group),
        **{name: found if len(found) > 1 else found[0] for name, found in values.items()},
    }

"""Embedded metric format: a JSON line in a Lambda's log that carries `_aws.CloudWatchMetrics` becomes metrics."""

from __future__ import annotations

import json
import time
from typing import Any

from local.config import LocalConfig


def install(config: LocalConfig) -> None:
    from ministack.services import cloudwatch_logs

    append = cloudwatch_logs._append_log_events

    def append_log_events(stream: Any, events: list[dict[str, Any]]) -> Any:
        for event in events:
            for namespace, name, dimensions, unit, values in read(event.get("message", "")):
                _store(namespace, name, dimensions, unit, values)
        return append(stream, events)

    cloudwatch_logs._append_log_events = append_log_events


def read(line: str) -> list[tuple[str, str, dict[str, str], str, list[float]]]:
    """(namespace, metric, dimensions, unit, values) for each metric and dimension set of one log line."""
    if '"CloudWatchMetrics"' not in line:
        return []
    try:
        document = json.loads(line)
    except ValueError:
        return []
    found = []
    for directive in (document.get("_aws") or {}).get("CloudWatchMetrics") or []:
        for names in directive.get("Dimensions") or [[]]:
            dimensions = {name: str(document[name]) for name in names if name in document}
            for metric in directive.get("Metrics") or []:
                value = document.get(metric["Name"])
                if value is not None:
                    values = [float(v) for v in (value if isinstance(value, list) else [value])]
                    unit = metric.get("Unit", "None")
                    found.append((directive["Namespace"], metric["Name"], dimensions, unit, values))
    return found


def _store(namespace: str, name: str, dimensions: dict[str, str], unit: str, values: list[float]) -> None:
    from ministack.services import cloudwatch

    cloudwatch._store_datum(namespace, name, dimensions, time.time(), unit, None, values, None, None)

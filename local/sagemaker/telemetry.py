"""What the embedded SageMaker tells the rest of AWS: EventBridge events, CloudWatch metrics and logs."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

from ministack.services import cloudwatch, cloudwatch_logs, eventbridge

from local.sagemaker.state import background

_LOG_LINE_LIMIT = 256 * 1024  # CloudWatch Logs' limit for one event
_METRIC_FLUSH_S = 0.2
_pending: dict[tuple[str, str], list[dict[str, Any]]] = {}
_pending_lock = threading.Lock()


def event(detail_type: str, detail: dict[str, Any], arn: str, *, source: str = "aws.sagemaker") -> None:
    """A state change on the default bus."""
    entry = {
        "Source": source,
        "DetailType": detail_type,
        "Detail": json.dumps(detail, default=str),
        "Resources": [arn],
    }
    eventbridge._put_events({"Entries": [entry]}, allow_aws_source=True)


class LogStream:
    """One stream of a log group; both are made when the first line comes."""

    def __init__(self, group: str, stream: str) -> None:
        self.group, self.stream = group, stream
        if group not in cloudwatch_logs._log_groups:
            cloudwatch_logs._create_log_group({"logGroupName": group})
        if stream not in cloudwatch_logs._log_groups[group]["streams"]:
            cloudwatch_logs._create_log_stream({"logGroupName": group, "logStreamName": stream})

    def write(self, lines: list[str]) -> None:
        stamp = int(time.time() * 1000)
        events = [{"timestamp": stamp, "message": line[:_LOG_LINE_LIMIT]} for line in lines]
        cloudwatch_logs._put_log_events(
            {"logGroupName": self.group, "logStreamName": self.stream, "logEvents": events}
        )


def metric(account: str, region: str, namespace: str, data: list[dict[str, Any]]) -> None:
    """Queue data points; they are published together a moment later, so that a request pays nothing."""
    with _pending_lock:
        first = not _pending
        _pending.setdefault((account, region), []).extend({**d, "_ns": namespace} for d in data)
    if first:
        background(_flush, name="sagemaker-metrics")


def _flush() -> None:
    from ministack.core.responses import request_scope

    time.sleep(_METRIC_FLUSH_S)
    with _pending_lock:
        batches = dict(_pending)
        _pending.clear()
    for (account, region), points in batches.items():
        spaces: dict[str, list[dict[str, Any]]] = {}
        for point in points:
            spaces.setdefault(point["_ns"], []).append({k: v for k, v in point.items() if k != "_ns"})
        with request_scope(account, region):
            for namespace, data in spaces.items():
                request = {"Namespace": namespace, "MetricData": data}
                cloudwatch._put_metric_data({}, request, False, is_json=True)

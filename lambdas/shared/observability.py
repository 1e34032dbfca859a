"""Logger, tracer and counters for every function.

Events, answers and error texts are never logged or traced: ids only (residency).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools.logging import Logger
from aws_lambda_powertools.metrics import MetricUnit, single_metric

from contracts import metrics

if TYPE_CHECKING:
    from aws_lambda_powertools.tracing import Tracer

Handler = Callable[[dict[str, Any], Any], dict[str, Any]]

# Ids that tie a log line to a run or a request.
_IDS = ("story", "run_id", "holder", "version", "request_id", "id")

logger = Logger(service="mangaassist")


def instrumented(name: str) -> Callable[[Handler], Handler]:
    """Decorate a handler: ids in every log line, an X-Ray segment, errors by class name."""

    def decorate(function: Handler) -> Handler:
        @logger.inject_lambda_context(clear_state=True)
        def wrapped(event: dict[str, Any], context: Any) -> dict[str, Any]:
            logger.append_keys(function=name, **_ids(event))
            try:
                answer = _traced(function, name)(event, context)
            except Exception as error:
                logger.error("step failed", error=type(error).__name__)
                raise
            logger.info("step done")
            return answer

        return wrapped

    return decorate


def is_sampled() -> bool:
    """Whether X-Ray records this invocation."""
    return "Sampled=1" in os.environ.get("_X_AMZN_TRACE_ID", "")


def _traced(function: Handler, name: str) -> Handler:
    if not is_sampled():
        return function
    return _tracer(name).capture_lambda_handler(function, capture_response=False, capture_error=False)


@cache
def _tracer(name: str) -> Tracer:
    """Made for the first sampled invocation: importing X-Ray's SDK builds an X-Ray client, which takes
    longer than all of a handler's own imports together."""
    from aws_lambda_powertools.tracing import Tracer

    return Tracer(service=name, patch_modules=("botocore",))


def _ids(event: Mapping[str, Any]) -> dict[str, str]:
    return {name: event[name] for name in _IDS if isinstance(event.get(name), str)}


def count(metric: str, value: float = 1, *, unit: MetricUnit = MetricUnit.Count, **dimensions: str) -> None:
    """One data point through the log (EMF): no call that could fail. Dimensions as contracts.metrics says."""
    with single_metric(name=metric, unit=unit, value=value, namespace=metrics.NAMESPACE) as point:
        for name, dimension in metrics.dimensions(metric, **dimensions).items():
            point.add_dimension(name=name, value=dimension)


def put_metric(cloudwatch: Any, points: list[tuple[str, float, dict[str, str]]]) -> None:
    """Data points that an alarm waits for go by PutMetricData: seen in seconds, and a failure is an error.

    A point is (metric, value, dimensions by lower-case name).
    """
    data = [
        {
            "MetricName": metric,
            "Value": value,
            "Unit": "None",
            "Dimensions": [{"Name": n, "Value": v} for n, v in metrics.dimensions(metric, **dims).items()],
        }
        for metric, value, dims in points
    ]
    for start in range(0, len(data), 500):  # 1,000 is CloudWatch's limit, 1 MB the request's
        cloudwatch.put_metric_data(Namespace=metrics.NAMESPACE, MetricData=data[start : start + 500])

"""CloudWatch alarms: dimensions, M of N windows, missing data, metric math; and their changes on EventBridge.

ministack looks at one window over all dimensions and only when a metric is put. Here every alarm is looked at
twice a second. A period is divided by the clock factor, and then metrics count at the moment they arrive, since
their own time stamps are in the time that was left behind.
"""

from __future__ import annotations

import json
import logging
import math
import threading
import time
from typing import Any

from local.config import LocalConfig
from local.events import metric_math

_LOG = logging.getLogger("local.events")
_TICK_S = 0.5
_HELD_S = 2.0  # how long a state that SetAlarmState forced is left alone, at least
_COMPARE = {
    "GreaterThanOrEqualToThreshold": lambda v, t: v >= t, "GreaterThanThreshold": lambda v, t: v > t,
    "LessThanThreshold": lambda v, t: v < t, "LessThanOrEqualToThreshold": lambda v, t: v <= t,
}
_held_until: dict[tuple[str, str, str], float] = {}


def install(config: LocalConfig) -> None:
    from ministack.services import cloudwatch

    from local.events import embedded_metrics

    embedded_metrics.install(config)
    evaluator = Evaluator(config)
    record, store, force, put_alarm = (cloudwatch._record_history, cloudwatch._store_datum,
                                       cloudwatch._set_alarm_state, cloudwatch._put_metric_alarm)

    def store_datum(namespace: str, name: str, dims: dict[str, str], *rest: Any) -> None:
        bucket = cloudwatch._metric_bucket((namespace, name, cloudwatch._dims_key(dims)))
        before = len(bucket)
        store(namespace, name, dims, *rest)
        for point in bucket[before:]:
            point["_arrived"] = time.time()

    def record_history(name: str, old: str, new: str, reason: str, *rest: Any, **more: Any) -> None:
        record(name, old, new, reason, *rest, **more)
        if old != new:
            _announce(name, old, new, reason)

    def set_alarm_state(params: Any, data: Any, is_cbor: bool, is_json: bool = False) -> Any:
        name = (data or {}).get("AlarmName") if is_cbor or is_json else cloudwatch._p(params, "AlarmName")
        evaluator.hold(name)
        return force(params, data, is_cbor, is_json)

    def put_metric_alarm(params: Any, data: Any, is_cbor: bool, is_json: bool = False) -> Any:
        answer = put_alarm(params, data, is_cbor, is_json)
        if answer[0] == 200 and data and data.get("Metrics"):
            cloudwatch._alarms[data["AlarmName"]]["Metrics"] = data["Metrics"]
        return answer

    cloudwatch._store_datum = store_datum
    cloudwatch._record_history = record_history
    cloudwatch._set_alarm_state = set_alarm_state
    cloudwatch._put_metric_alarm = put_metric_alarm
    cloudwatch._evaluate_alarm = lambda alarm: None  # ours does it, on its own beat
    dispatch = cloudwatch._dispatch_alarm_actions

    def dispatch_actions(alarm: dict[str, Any], *rest: Any) -> None:
        dispatch(alarm, *rest)
        _call_functions(alarm, *rest)

    cloudwatch._dispatch_alarm_actions = dispatch_actions
    threading.Thread(target=evaluator.run, daemon=True, name="alarms").start()


class Evaluator:
    def __init__(self, config: LocalConfig) -> None:
        self._config = config
        self._time_field = "Timestamp" if config.clock_factor == 1 else "_arrived"

    def run(self) -> None:
        while True:
            time.sleep(_TICK_S)
            self.tick(time.time())

    def tick(self, now: float) -> None:
        from ministack.core.responses import set_request_account_id, set_request_region
        from ministack.services import cloudwatch

        for key, alarm in list(cloudwatch._alarms._data.items()):
            if _held_until.get(key, 0) > now:
                continue
            set_request_account_id(key[0])
            set_request_region(key[1])
            try:
                new, reason = self.judge(alarm, now)
            except (metric_math.UnsupportedExpression, KeyError, TypeError) as error:
                _LOG.warning("alarm %s cannot be evaluated: %s", key[2], error)
                continue
            if new != alarm["StateValue"]:
                _move(alarm, new, reason)

    def hold(self, name: str | None) -> None:
        from ministack.core.responses import get_account_id, get_region
        from ministack.services import cloudwatch

        alarm = cloudwatch._alarms.get(name)
        if alarm:
            period = self._config.scaled(alarm.get("Period") or 60)
            _held_until[get_account_id(), get_region(), str(name)] = time.time() + max(_HELD_S, period)

    def judge(self, alarm: dict[str, Any], now: float) -> tuple[str, str]:
        """The state that the alarm's last windows call for, and why."""
        count = int(alarm.get("EvaluationPeriods") or 1)
        needed = int(alarm.get("DatapointsToAlarm") or count)
        values = self._windows(alarm, now, count)
        threshold, compare = float(alarm["Threshold"]), _COMPARE[alarm["ComparisonOperator"]]
        missing = alarm.get("TreatMissingData") or "missing"
        present = [v for v in values if v is not None]
        breaching = sum(compare(v, threshold) for v in present)
        if missing == "breaching":
            breaching += count - len(present)
        reason = (f"Threshold Crossed: {breaching} of the last {count} datapoints {present} were breaching "
                  f"({alarm['ComparisonOperator']} {threshold}); {needed} are needed")
        if breaching >= needed:
            return "ALARM", reason
        if present or missing in ("notBreaching", "breaching"):
            if missing in ("missing", "ignore") and breaching and breaching == len(present) < needed:
                return alarm["StateValue"], reason  # all there is breaches, but there is too little of it
            return "OK", reason
        if missing == "ignore":
            return alarm["StateValue"], reason
        return "INSUFFICIENT_DATA", f"Insufficient Data: {count} datapoints were unknown."

    def _windows(self, alarm: dict[str, Any], now: float, count: int) -> metric_math.Series:
        rising = str(alarm["ComparisonOperator"]).startswith("Greater")
        if not alarm.get("Metrics"):
            statistic = alarm.get("ExtendedStatistic") or alarm.get("Statistic") or "Average"
            return self._series(alarm["Namespace"], alarm["MetricName"], alarm.get("Dimensions"),
                                alarm.get("Period") or 60, statistic, now, count, rising)
        series: dict[str, metric_math.Series] = {}
        expressions = {q["Id"]: q for q in alarm["Metrics"] if q.get("Expression")}
        for query in alarm["Metrics"]:
            if "MetricStat" in query:
                stat = query["MetricStat"]
                metric = stat["Metric"]
                series[query["Id"]] = self._series(
                    metric["Namespace"], metric["MetricName"], metric.get("Dimensions"), stat["Period"],
                    stat["Stat"], now, count, rising)
        while expressions:
            ready = [i for i, q in expressions.items() if not _names(q["Expression"]) & set(expressions) - {i}]
            if not ready:
                raise metric_math.UnsupportedExpression(f"expressions refer to each other: {sorted(expressions)}")
            for query_id in ready:
                series[query_id] = metric_math.evaluate(expressions.pop(query_id)["Expression"], series)
        returned = [q["Id"] for q in alarm["Metrics"] if str(q.get("ReturnData", True)).lower() != "false"]
        return series[returned[-1]]

    def _series(self, namespace: str, name: str, dimensions: Any, period: Any, statistic: str,
                now: float, count: int, rising: bool) -> metric_math.Series:
        """The last `count` windows. The window that is still filling counts only where more can make it no less."""
        from ministack.services import cloudwatch

        width = max(1.0, self._config.scaled(float(period)))
        key = (namespace, name, cloudwatch._dims_key(cloudwatch._dims_from_list(dimensions or [])))
        buckets: dict[int, list[Any]] = {}
        for point in list(cloudwatch._metrics.get(key) or []):
            moment = point.get(self._time_field, point["Timestamp"])
            if moment >= now - width * (count + 2):
                buckets.setdefault(math.floor(moment / width), []).append(point)
        last = math.floor(now / width)
        if not (rising and last in buckets):
            last -= 1
        return [cloudwatch._stat_value(cloudwatch._calc_stats(buckets[i]), statistic, buckets[i])
                if i in buckets else None for i in range(last - count + 1, last + 1)]


def _names(expression: str) -> set[str]:
    import re

    return set(re.findall(r"\b[a-z][A-Za-z0-9_]*\b", expression))


def _move(alarm: dict[str, Any], new: str, reason: str) -> None:
    from ministack.services import cloudwatch

    old = alarm["StateValue"]
    alarm.update(StateValue=new, StateReason=reason, StateUpdatedTimestamp=int(time.time()))
    cloudwatch._record_history(alarm["AlarmName"], old, new, reason)
    cloudwatch._dispatch_alarm_actions(alarm, old, new, reason)
    cloudwatch._evaluate_parent_alarms(alarm)


def _announce(name: str, old: str, new: str, reason: str) -> None:
    from ministack.services import cloudwatch, eventbridge

    alarm = cloudwatch._alarms.get(name) or cloudwatch._composite_alarms.get(name) or {}
    now = time.strftime("%Y-%m-%dT%H:%M:%S.000+0000", time.gmtime())
    detail = {
        "alarmName": name,
        "state": {"value": new, "reason": reason, "timestamp": now},
        "previousState": {"value": old, "timestamp": now},
        "configuration": {"description": alarm.get("AlarmDescription") or "", "metrics": _metrics_of(alarm)}
        if "AlarmRule" not in alarm else {"alarmRule": alarm["AlarmRule"]},
    }
    eventbridge._put_events({"Entries": [{
        "Source": "aws.cloudwatch", "DetailType": "CloudWatch Alarm State Change",
        "Detail": json.dumps(detail, default=str), "Resources": [alarm.get("AlarmArn", "")],
    }]}, allow_aws_source=True)


def _metrics_of(alarm: dict[str, Any]) -> list[dict[str, Any]]:
    if alarm.get("Metrics"):
        return list(alarm["Metrics"])
    dimensions = {d["Name"]: d["Value"] for d in alarm.get("Dimensions") or []}
    return [{"id": "m1", "returnData": True, "metricStat": {
        "metric": {"namespace": alarm.get("Namespace"), "name": alarm.get("MetricName"), "dimensions": dimensions},
        "period": alarm.get("Period"), "stat": alarm.get("ExtendedStatistic") or alarm.get("Statistic")}}]


def _call_functions(alarm: dict[str, Any], old: str, new: str, reason: str) -> None:
    """Lambda functions as alarm actions; ministack knows SNS topics only."""
    from ministack.services import eventbridge

    field = {"ALARM": "AlarmActions", "OK": "OKActions"}.get(new, "InsufficientDataActions")
    for arn in alarm.get(field) or []:
        if alarm.get("ActionsEnabled", True) and ":lambda:" in arn:
            event = {"source": "aws.cloudwatch", "alarmArn": alarm.get("AlarmArn"),
                     "alarmData": {"alarmName": alarm["AlarmName"], "state": {"value": new, "reason": reason},
                                   "previousState": {"value": old}}}
            eventbridge._dispatch_to_lambda(arn, json.dumps(event))

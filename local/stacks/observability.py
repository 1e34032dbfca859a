"""Composite alarms, saved log queries and account-wide log policies; metric math kept on metric alarms."""

from __future__ import annotations

from typing import Any

from local.stacks.by_api import ApiResource, Created, as_bool, client, present
from local.stacks.by_api import handlers as by_api

TAGGED = {"AWS::CloudWatch::CompositeAlarm": "Tags"}


def handlers() -> dict[str, dict[str, Any]]:
    return by_api(_RESOURCES) | {"AWS::CloudWatch::Alarm": _metric_alarm()}


def _metric_alarm() -> dict[str, Any]:
    """ministack's own handler, and the Metrics that it leaves behind."""
    from ministack.services import cloudwatch
    from ministack.services.cloudformation import provisioners

    own = dict(provisioners._RESOURCE_HANDLERS["AWS::CloudWatch::Alarm"])

    def stand_in(props: dict[str, Any]) -> dict[str, Any]:
        """ministack refuses Metrics; it stores a named metric, which the evaluator does not look at."""
        if not props.get("Metrics"):
            return props
        plain = {k: v for k, v in dict(props).items() if k != "Metrics"}
        return {**plain, "MetricName": "-", "Namespace": "-"}

    def keep(created: Created, props: dict[str, Any]) -> Created:
        if props.get("Metrics"):
            alarm = cloudwatch._alarms[created[0]]
            alarm.update(Metrics=props["Metrics"], MetricName=None, Namespace=None)
        return created

    return {
        **own,
        "create": lambda logical_id, props, stack: keep(own["create"](logical_id, stand_in(props), stack), props),
        "update": lambda pid, old, new, stack, logical_id=None: keep(
            own["update"](pid, stand_in(old), stand_in(new), stack, logical_id), new),
    }


def _composite_put(props: dict[str, Any], name: str) -> Created:
    name = props.get("AlarmName", name)
    settings = present(props, "AlarmRule", "AlarmDescription", "AlarmActions", "OKActions", "InsufficientDataActions",
                       "ActionsSuppressor")
    if "ActionsEnabled" in props:
        settings["ActionsEnabled"] = as_bool(props["ActionsEnabled"])
    for period in ("ActionsSuppressorWaitPeriod", "ActionsSuppressorExtensionPeriod"):
        if period in props:
            settings[period] = int(props[period])
    client("cloudwatch").put_composite_alarm(AlarmName=name, **settings)
    found = client("cloudwatch").describe_alarms(AlarmNames=[name], AlarmTypes=["CompositeAlarm"])
    return name, {"Arn": found["CompositeAlarms"][0]["AlarmArn"]}


def _composite_update(physical_id: str, old: dict[str, Any], new: dict[str, Any]) -> Created:
    if old.get("AlarmName") != new.get("AlarmName"):
        raise ValueError("AWS::CloudWatch::CompositeAlarm: a new AlarmName needs a new resource (replacement by name "
                         "is not supported here): change the logical id as well")
    return _composite_put({**new, "AlarmName": physical_id}, physical_id)


def _query_put(props: dict[str, Any], name: str) -> Created:
    answer = client("logs").put_query_definition(
        name=props["Name"], queryString=props["QueryString"],
        **({"logGroupNames": props["LogGroupNames"]} if props.get("LogGroupNames") else {}))
    return answer["queryDefinitionId"], {"QueryDefinitionId": answer["queryDefinitionId"]}


def _query_update(physical_id: str, old: dict[str, Any], new: dict[str, Any]) -> Created:
    client("logs").put_query_definition(
        queryDefinitionId=physical_id, name=new["Name"], queryString=new["QueryString"],
        **({"logGroupNames": new["LogGroupNames"]} if new.get("LogGroupNames") else {}))
    return physical_id, {"QueryDefinitionId": physical_id}


_RESOURCES = {
    "AWS::CloudWatch::CompositeAlarm": ApiResource(
        create=_composite_put, update=_composite_update,
        delete=lambda physical_id, props: client("cloudwatch").delete_alarms(AlarmNames=[physical_id]),
        properties=frozenset({"AlarmName", "AlarmRule", "AlarmDescription", "ActionsEnabled", "AlarmActions",
                              "OKActions", "InsufficientDataActions", "ActionsSuppressor",
                              "ActionsSuppressorWaitPeriod", "ActionsSuppressorExtensionPeriod", "Tags"})),
    "AWS::Logs::QueryDefinition": ApiResource(
        create=_query_put, update=_query_update,
        delete=lambda physical_id, props: client("logs").delete_query_definition(queryDefinitionId=physical_id),
        properties=frozenset({"Name", "QueryString", "LogGroupNames"})),
}

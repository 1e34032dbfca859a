"""AWS::EMRServerless::Application, through the emr-serverless API."""

from __future__ import annotations

from typing import Any

from local.stacks.by_api import ApiResource, Created, client
from local.stacks.by_api import handlers as by_api

TAGGED = {"AWS::EMRServerless::Application": "Tags"}
_SERVICE = "emr-serverless"
_IN_PLACE = frozenset({"ReleaseLabel", "MaximumCapacity", "AutoStartConfiguration", "AutoStopConfiguration",
                       "NetworkConfiguration", "Architecture", "MonitoringConfiguration"})


def handlers() -> dict[str, dict[str, Any]]:
    return by_api(_RESOURCES)


def _as_request(value: Any) -> Any:
    """Templates spell members in PascalCase, and numbers and booleans as text as well."""
    if isinstance(value, dict):
        return {key[:1].lower() + key[1:]: _as_request(member) for key, member in value.items()}
    if isinstance(value, list):
        return [_as_request(item) for item in value]
    if value in ("true", "false"):
        return value == "true"
    return int(value) if isinstance(value, str) and value.isdigit() else value


def _create(props: dict[str, Any], name: str) -> Created:
    tags = {tag["Key"]: tag["Value"] for tag in props.get("Tags", [])}
    request = _as_request({key: value for key, value in props.items() if key in _IN_PLACE})
    return _created(client(_SERVICE).create_application(
        name=str(props.get("Name", name))[:64], type=props["Type"], tags=tags, **request))


def _created(made: dict[str, Any]) -> Created:
    return made["applicationId"], {"ApplicationId": made["applicationId"], "Arn": made["arn"]}


def _update(physical_id: str, old: dict[str, Any], new: dict[str, Any]) -> Created:
    if any(old.get(key) != new.get(key) for key in ("Name", "Type")):
        return _create(new, physical_id)  # another physical id: the old one goes in the cleanup phase
    request = _as_request({key: value for key, value in new.items() if key in _IN_PLACE})
    return _created(client(_SERVICE).update_application(applicationId=physical_id, **request)["application"])


_RESOURCES = {
    "AWS::EMRServerless::Application": ApiResource(
        create=_create, update=_update,
        delete=lambda physical_id, props: client(_SERVICE).delete_application(applicationId=physical_id),
        properties=_IN_PLACE | {"Name", "Type", "Tags"}),
}

"""Feature store: feature groups, the online store and, through `offline`, the offline store.

The online store keeps the record with the latest event time; an older record goes to the offline store only.
"""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any

from local.sagemaker import offline, roles, state, telemetry
from local.sagemaker.errors import ApiError, invalid
from local.sagemaker.models import tag
from local.sagemaker.operations import operation

_RUNTIME = "sagemaker-featurestore-runtime"
_UNIT_S = {"Seconds": 1, "Minutes": 60, "Hours": 3600, "Days": 86_400, "Weeks": 604_800}
_ONLINE = "OnlineStoreConfig.EnableOnlineStore OnlineStoreConfig.SecurityConfig OnlineStoreConfig.TtlDuration"


@operation(
    "CreateFeatureGroup",
    "FeatureGroupName RecordIdentifierFeatureName EventTimeFeatureName FeatureDefinitions.FeatureName "
    f"FeatureDefinitions.FeatureType {_ONLINE} OnlineStoreConfig.StorageType OfflineStoreConfig ThroughputConfig "
    "RoleArn Description Tags",
)
def create_feature_group(request: dict[str, Any]) -> dict[str, Any]:
    name, types = request["FeatureGroupName"], _types(request["FeatureDefinitions"])
    for member in ("RecordIdentifierFeatureName", "EventTimeFeatureName"):
        if request[member] not in types:
            raise invalid(f"{member} {request[member]!r} must be one of the feature definitions: {', '.join(types)}")
    if types[request["EventTimeFeatureName"]] == "Integral":
        raise invalid("The event time feature must be of type Fractional or String, got Integral")
    online, offline_config = request.get("OnlineStoreConfig", {}), request.get("OfflineStoreConfig")
    if not online.get("EnableOnlineStore") and not offline_config:
        raise invalid("At least one of OnlineStoreConfig and OfflineStoreConfig must be enabled")
    if online.get("StorageType", "Standard") != "Standard":
        raise invalid("StorageType InMemory is not supported by the embedded SageMaker; use Standard")
    if offline_config:
        if "RoleArn" not in request:
            raise invalid("RoleArn is required for an offline store")
        roles.check_trust(request["RoleArn"])
    arn = state.arn("feature-group", name)
    with state.LOCK:
        if name in state.store("feature-group"):
            raise ApiError("ResourceInUse", f"Resource Already Exists: FeatureGroup with name {name} already exists.")
        stamp = state.now()
        record = {k: v for k, v in request.items() if k != "Tags"}
        record |= {"FeatureGroupArn": arn, "FeatureGroupStatus": "Created"}
        record |= {"CreationTime": stamp, "LastModifiedTime": stamp}
        if offline_config:
            record["OfflineStoreConfig"] = offline.prepared(record)
            record["OfflineStoreStatus"] = {"Status": "Active"}
        state.store("feature-group")[name] = record
    tag(arn, request)
    _announce(record)
    return {"FeatureGroupArn": arn}


def _types(definitions: list[dict[str, str]]) -> dict[str, str]:
    return {d["FeatureName"]: d["FeatureType"] for d in definitions}


def _announce(record: dict[str, Any]) -> None:
    telemetry.event("SageMaker Feature Group State Change", state.public(record), record["FeatureGroupArn"])


def find_group(name: str) -> dict[str, Any]:
    record = state.store("feature-group").get(state.arn_name(name, "feature-group"))
    if record is None:
        raise ApiError(
            "ResourceNotFound",
            f"Resource Not Found: Amazon SageMaker can't find a FeatureGroup with name {name}",
            status=404,
        )
    return record


@operation("DescribeFeatureGroup", "FeatureGroupName NextToken")
def describe_feature_group(request: dict[str, Any]) -> dict[str, Any]:
    return {**state.public(find_group(request["FeatureGroupName"])), "NextToken": ""}


@operation(
    "UpdateFeatureGroup", f"FeatureGroupName FeatureAdditions.FeatureName FeatureAdditions.FeatureType {_ONLINE}"
)
def update_feature_group(request: dict[str, Any]) -> dict[str, Any]:
    """Features can be added, never taken away; the time to live of new records can change."""
    with state.LOCK:
        record = find_group(request["FeatureGroupName"])
        additions = request.get("FeatureAdditions", [])
        known = _types(record["FeatureDefinitions"])
        twice = [d["FeatureName"] for d in additions if d["FeatureName"] in known]
        if twice:
            raise invalid(f"Feature {', '.join(twice)} already exists in feature group {record['FeatureGroupName']}")
        record["FeatureDefinitions"] = [*record["FeatureDefinitions"], *additions]
        if "OnlineStoreConfig" in request:
            record["OnlineStoreConfig"] = {**record.get("OnlineStoreConfig", {}), **request["OnlineStoreConfig"]}
        record.update(LastModifiedTime=state.now(), LastUpdateStatus={"Status": "Successful"})
    return {"FeatureGroupArn": record["FeatureGroupArn"]}


@operation("DeleteFeatureGroup", "FeatureGroupName")
def delete_feature_group(request: dict[str, Any]) -> dict[str, Any]:
    """The online records go; what is in the offline store stays, as on AWS."""
    with state.LOCK:
        name = find_group(request["FeatureGroupName"])["FeatureGroupName"]
        del state.store("feature-group")[name]
        state.store("records").pop(name, None)
    return {}


@operation(
    "ListFeatureGroups",
    "NameContains FeatureGroupStatusEquals OfflineStoreStatusEquals CreationTimeAfter CreationTimeBefore SortOrder "
    "SortBy MaxResults NextToken",
)
def list_feature_groups(request: dict[str, Any]) -> dict[str, Any]:
    rows = list(state.store("feature-group").values())
    if "FeatureGroupStatusEquals" in request:
        rows = [r for r in rows if r["FeatureGroupStatus"] == request["FeatureGroupStatusEquals"]]
    return {"NextToken": "", **state.listing(
        rows, request, answer="FeatureGroupSummaries",
        summary=("FeatureGroupName", "FeatureGroupArn", "CreationTime", "FeatureGroupStatus", "OfflineStoreStatus"),
    )}


# -- records -----------------------------------------------------------------------------------------------


@operation(
    "PutRecord", "FeatureGroupName Record.FeatureName Record.ValueAsString TargetStores TtlDuration", service=_RUNTIME
)
def put_record(request: dict[str, Any]) -> dict[str, Any]:
    group = find_group(request["FeatureGroupName"])
    values = {f["FeatureName"]: f.get("ValueAsString") for f in request["Record"]}
    _check_values(group, values)
    stores = _stores(group, request)
    event_time = str(values[group["EventTimeFeatureName"]])
    if "OnlineStore" in stores:
        ttl = request.get("TtlDuration") or group["OnlineStoreConfig"].get("TtlDuration")
        expires = _seconds(event_time) + ttl["Value"] * _UNIT_S[ttl["Unit"]] if ttl else None
        key = str(values[group["RecordIdentifierFeatureName"]])
        _keep(group, key, event_time, {"values": values, "expires": expires, "deleted": False})
    if "OfflineStore" in stores:
        offline.append(group, values, deleted=False)
    return {}


def _stores(group: dict[str, Any], request: dict[str, Any]) -> list[str]:
    enabled = ["OnlineStore"] if group.get("OnlineStoreConfig", {}).get("EnableOnlineStore") else []
    enabled += ["OfflineStore"] if "OfflineStoreConfig" in group else []
    wanted = request.get("TargetStores") or enabled
    missing = [s for s in wanted if s not in enabled]
    if missing:
        raise ApiError("ValidationError", f"{', '.join(missing)} is not enabled for {group['FeatureGroupName']}")
    return wanted


def _keep(group: dict[str, Any], key: str, event_time: str, entry: dict[str, Any]) -> None:
    """The latest event time wins, whatever comes first."""
    with state.LOCK:
        records = state.store("records").setdefault(group["FeatureGroupName"], {})
        known = records.get(key)
        if known is None or _seconds(known["time"]) <= _seconds(event_time):
            records[key] = {"time": event_time, **entry}


def _check_values(group: dict[str, Any], values: dict[str, Any]) -> None:
    types = _types(group["FeatureDefinitions"])
    unknown = sorted(set(values) - set(types))
    if unknown:
        text = f"Feature {', '.join(unknown)} is not defined; the group has {', '.join(types)}"
        raise ApiError("ValidationError", text)
    for member in ("RecordIdentifierFeatureName", "EventTimeFeatureName"):
        if not values.get(group[member]):
            raise ApiError("ValidationError", f"The record must have a value for {group[member]} ({member})")
    for name, value in values.items():
        try:
            if value is not None and types[name] != "String":
                (int if types[name] == "Integral" else float)(value)
        except ValueError as error:
            raise ApiError("ValidationError", f"Feature {name} must be {types[name]}, got {value!r}") from error
    _seconds(str(values[group["EventTimeFeatureName"]]))


def _seconds(event_time: str) -> float:
    """Event times are epoch seconds or ISO-8601 in UTC."""
    try:
        return float(event_time)
    except ValueError:
        pass
    try:
        return datetime.fromisoformat(event_time).timestamp()
    except ValueError as error:
        text = f"Event time must be epoch seconds or ISO-8601 (2024-01-31T12:00:00Z), got {event_time!r}"
        raise ApiError("ValidationError", text) from error


@operation(
    "GetRecord", "FeatureGroupName RecordIdentifierValueAsString FeatureNames ExpirationTimeResponse", service=_RUNTIME
)
def get_record(request: dict[str, Any]) -> dict[str, Any]:
    group = find_group(request["FeatureGroupName"])
    if not group.get("OnlineStoreConfig", {}).get("EnableOnlineStore"):
        raise ApiError("ValidationError", f"OnlineStore is not enabled for {group['FeatureGroupName']}")
    names = request.get("FeatureNames") or [d["FeatureName"] for d in group["FeatureDefinitions"]]
    unknown = sorted(set(names) - set(_types(group["FeatureDefinitions"])))
    if unknown:
        raise ApiError("ValidationError", f"Feature {', '.join(unknown)} is not defined")
    return _record(group, request["RecordIdentifierValueAsString"], names, request.get("ExpirationTimeResponse"))


def _record(group: dict[str, Any], key: str, names: list[str], expiration: str | None) -> dict[str, Any]:
    entry = state.store("records").get(group["FeatureGroupName"], {}).get(key)
    if entry is None or entry["deleted"] or (entry["expires"] and entry["expires"] <= time.time()):
        return {}
    values = entry["values"]
    found = [{"FeatureName": n, "ValueAsString": values[n]} for n in names if values.get(n) is not None]
    more = {}
    if expiration == "Enabled" and entry["expires"]:
        more["ExpiresAt"] = datetime.fromtimestamp(entry["expires"]).astimezone().isoformat()
    return {"Record": found, **more}


@operation("BatchGetRecord", "Identifiers ExpirationTimeResponse", service=_RUNTIME)
def batch_get_record(request: dict[str, Any]) -> dict[str, Any]:
    found, errors = [], []
    for identifier in request["Identifiers"]:
        for key in identifier["RecordIdentifiersValueAsString"]:
            name = identifier["FeatureGroupName"]
            one = {"FeatureGroupName": name, "RecordIdentifierValueAsString": key}
            names = {"FeatureNames": identifier["FeatureNames"]} if "FeatureNames" in identifier else {}
            try:
                answer = get_record({**one, **names, "ExpirationTimeResponse": request.get("ExpirationTimeResponse")})
            except ApiError as error:
                errors.append({**one, "ErrorCode": error.code, "ErrorMessage": error.message})
                continue
            if answer:
                found.append({**one, **answer})
    return {"Records": found, "Errors": errors, "UnprocessedIdentifiers": []}


@operation(
    "DeleteRecord", "FeatureGroupName RecordIdentifierValueAsString EventTime TargetStores DeletionMode",
    service=_RUNTIME,
)
def delete_record(request: dict[str, Any]) -> dict[str, Any]:
    group, key = find_group(request["FeatureGroupName"]), request["RecordIdentifierValueAsString"]
    stores = _stores(group, request)
    if "OnlineStore" in stores:
        if request.get("DeletionMode") == "HardDelete":
            with state.LOCK:
                state.store("records").get(group["FeatureGroupName"], {}).pop(key, None)
        else:
            _keep(group, key, request["EventTime"], {"values": {}, "expires": None, "deleted": True})
    if "OfflineStore" in stores:
        values = {group["RecordIdentifierFeatureName"]: key, group["EventTimeFeatureName"]: request["EventTime"]}
        offline.append(group, values, deleted=True)
    return {}

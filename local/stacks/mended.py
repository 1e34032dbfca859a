"""Handlers of ministack that lose something: each is wrapped, and says what it mends."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from typing import Any

Handler = dict[str, Any]


def handlers() -> dict[str, Handler]:
    return {
        "AWS::DynamoDB::GlobalTable": _global_table(),
        "AWS::IAM::Role": _role_with_boundary(),
        "AWS::DynamoDB::Table": _table(),
        "AWS::Lambda::Function": _function(),
        "AWS::Scheduler::Schedule": _schedule(),
        "AWS::StepFunctions::StateMachine": _checked_machine(),
    }


def _own(resource_type: str) -> Handler:
    from ministack.services.cloudformation import provisioners

    return dict(provisioners._RESOURCE_HANDLERS[resource_type])


def _global_table() -> Handler:
    """ministack drops what a replica says, and renames (so empties) an auto-named table on any update."""
    from ministack.services.cloudformation import provisioners

    table = _table()

    def create(logical_id: str, props: dict[str, Any], stack_name: str) -> Any:
        return table["create"](logical_id, _as_table(props), stack_name)

    def update(physical_id: str, old: dict[str, Any], new: dict[str, Any], stack_name: str,
               logical_id: str | None = None) -> Any:
        return table["update"](physical_id, _as_table(old), _as_table(new), stack_name, logical_id)

    return {"create": create, "update": update, "update_with_logical_id": True,
            "delete": lambda physical_id, props: provisioners._ddb_delete(physical_id, _as_table(props))}


def _table() -> Handler:
    """ministack passes over time to live, point-in-time recovery and encryption; they are set by their own calls."""
    own = _own("AWS::DynamoDB::Table")

    def keep(created: Any, props: dict[str, Any]) -> Any:
        _table_settings(created[0], props)
        return created

    return _wrapped(own, keep)


def _table_settings(name: str, props: dict[str, Any]) -> None:
    from ministack.services import dynamodb as service

    from local.stacks.by_api import as_bool, client

    dynamodb = client("dynamodb")
    ttl = props.get("TimeToLiveSpecification")
    if ttl:
        wanted = as_bool(ttl.get("Enabled", True))
        now = dynamodb.describe_time_to_live(TableName=name)["TimeToLiveDescription"]["TimeToLiveStatus"]
        if wanted != (now == "ENABLED"):
            dynamodb.update_time_to_live(TableName=name, TimeToLiveSpecification={
                "Enabled": wanted, "AttributeName": ttl["AttributeName"]})
    recovery = props.get("PointInTimeRecoverySpecification")
    if recovery:
        dynamodb.update_continuous_backups(TableName=name, PointInTimeRecoverySpecification={
            "PointInTimeRecoveryEnabled": as_bool(recovery.get("PointInTimeRecoveryEnabled", False))})
    encryption = props.get("SSESpecification")
    if encryption and as_bool(encryption.get("SSEEnabled", True)):
        service._tables[name]["SSEDescription"] = {
            "Status": "ENABLED", "SSEType": encryption.get("SSEType", "KMS"),
            **({"KMSMasterKeyArn": encryption["KMSMasterKeyId"]} if "KMSMasterKeyId" in encryption else {})}
    policy = props.get("ResourcePolicy")
    if policy:
        dynamodb.put_resource_policy(ResourceArn=service._tables[name]["TableArn"],
                                     Policy=json.dumps(policy["PolicyDocument"]))


def _function() -> Handler:
    """ministack passes over reserved concurrency and the dead-letter queue."""
    from ministack.services import lambda_svc

    def keep(created: Any, props: dict[str, Any]) -> Any:
        record = lambda_svc._functions[created[0]]
        reserved = props.get("ReservedConcurrentExecutions")
        record["concurrency"] = None if reserved is None else int(reserved)
        if props.get("DeadLetterConfig"):
            record["config"]["DeadLetterConfig"] = props["DeadLetterConfig"]
        return created

    return _wrapped(_own("AWS::Lambda::Function"), keep)


def _schedule() -> Handler:
    """ministack passes over the time zone, so that 03:00 in Tokyo would be 03:00 UTC."""
    from ministack.services import scheduler

    fields = ("ScheduleExpressionTimezone", "StartDate", "EndDate", "ActionAfterCompletion", "KmsKeyArn")

    def keep(created: Any, props: dict[str, Any]) -> Any:
        record = scheduler._schedules[f"{props.get('GroupName', 'default')}/{created[0]}"]
        for name in fields:
            record.pop(name, None)
            if name in props:
                record[name] = props[name]
        return created

    return _wrapped(_own("AWS::Scheduler::Schedule"), keep)


def _wrapped(own: Handler, keep: Callable[[Any, dict[str, Any]], Any]) -> Handler:
    """ministack's handler, and `keep` after each create and update."""
    return {**own,
            "create": lambda logical_id, props, stack: keep(own["create"](logical_id, props, stack), props),
            "update": _after_update(own, keep), "update_with_logical_id": True}


_REPLICA_KEEPS = ("DeletionProtectionEnabled", "PointInTimeRecoverySpecification", "Tags", "TableClass",
                  "ContributorInsightsSpecification", "ResourcePolicy")


def _as_table(props: dict[str, Any]) -> dict[str, Any]:
    """The AWS::DynamoDB::Table that a GlobalTable with one replica, in the stack's own region, amounts to."""
    from ministack.core.responses import get_region

    replicas = props.get("Replicas") or []
    if len(replicas) != 1 or replicas[0].get("Region") != get_region():
        raise ValueError("AWS::DynamoDB::GlobalTable: the embedded CloudFormation supports one replica, in the stack's "
                         f"own region {get_region()}, got {[r.get('Region') for r in replicas]}")
    for setting in ("MultiRegionConsistency", "GlobalTableWitnesses", "GlobalTableSourceArn",
                    "WriteProvisionedThroughputSettings"):
        if setting in props:
            raise ValueError(f"AWS::DynamoDB::GlobalTable: {setting} is not supported by the embedded CloudFormation")
    dropped = {"Replicas", "WarmThroughput", "WriteOnDemandThroughputSettings", "ReadOnDemandThroughputSettings"}
    table = {k: v for k, v in props.items() if k not in dropped}
    table |= {k: replicas[0][k] for k in _REPLICA_KEEPS if k in replicas[0]}
    encryption = replicas[0].get("SSESpecification") or {}
    if encryption.get("KMSMasterKeyId"):
        table["SSESpecification"] = {**(table.get("SSESpecification") or {}), "SSEEnabled": True, **encryption}
    return table


def _role_with_boundary() -> Handler:
    """ministack leaves the permissions boundary out, so that it would limit nothing."""
    from ministack.services import iam

    own = _own("AWS::IAM::Role")

    def keep(created: Any, props: dict[str, Any]) -> Any:
        iam._roles[created[0]]["PermissionsBoundary"] = props.get("PermissionsBoundary")
        return created

    return _wrapped(own, keep)


def _checked_machine() -> Handler:
    """ministack stores any definition; AWS refuses one that cannot run."""
    from ministack.services.cloudformation import provisioners

    from local.states import definitions

    own = _own("AWS::StepFunctions::StateMachine")

    def check(props: dict[str, Any]) -> None:
        try:
            definitions.program(provisioners._sfn_definition(props))
        except definitions.InvalidDefinition as error:
            raise ValueError(f"Invalid State Machine Definition: '{error}'") from error

    def create(logical_id: str, props: dict[str, Any], stack: str) -> Any:
        check(props)
        return own["create"](logical_id, props, stack)

    def update(physical_id: str, old: Any, new: Any, stack: str, logical_id: str | None = None) -> Any:
        check(new)
        return _call_update(own, physical_id, old, new, stack, logical_id)

    return {**own, "create": create, "update": update, "update_with_logical_id": True}


def _after_update(own: Handler, keep: Callable[[Any, dict[str, Any]], Any]) -> Any:
    def update(physical_id: str, old: Any, new: Any, stack: str, logical_id: str | None = None) -> Any:
        return keep(_call_update(own, physical_id, old, new, stack, logical_id), new)

    return update


def _call_update(own: Handler, physical_id: str, old: Any, new: Any, stack: str, logical_id: str | None) -> Any:
    with_id = own.get("update_with_logical_id") or "logical_id" in inspect.signature(own["update"]).parameters
    more = (logical_id,) if with_id else ()
    return own["update"](physical_id, old, new, stack, *more)

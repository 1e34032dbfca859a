"""AWS::ApplicationAutoScaling, by whatever serves the application-autoscaling API."""

from __future__ import annotations

from typing import Any

from local.stacks.by_api import ApiResource, Created, client, present
from local.stacks.by_api import handlers as by_api


def handlers() -> dict[str, dict[str, Any]]:
    return by_api(_RESOURCES)


def _key(props: dict[str, Any]) -> dict[str, Any]:
    return present(props, "ServiceNamespace", "ResourceId", "ScalableDimension")


def _target_put(props: dict[str, Any], name: str) -> Created:
    answer = client("application-autoscaling").register_scalable_target(
        **_key(props), MinCapacity=int(props["MinCapacity"]), MaxCapacity=int(props["MaxCapacity"]),
        **present(props, "RoleARN", "SuspendedState"))
    target = f"{props['ResourceId']}|{props['ScalableDimension']}|{props['ServiceNamespace']}"
    return target, {"Id": target, "ScalableTargetARN": answer.get("ScalableTargetARN", "")}


def _target_update(physical_id: str, old: dict[str, Any], new: dict[str, Any]) -> Created:
    created = _target_put(new, physical_id)
    if created[0] != physical_id:
        _target_delete(physical_id, old)
    return created


def _target_delete(physical_id: str, props: dict[str, Any]) -> None:
    client("application-autoscaling").deregister_scalable_target(**_key(props))


def _policy_key(props: dict[str, Any]) -> dict[str, Any]:
    if "ScalingTargetId" in props:
        resource, dimension, namespace = props["ScalingTargetId"].split("|")
        return {"ServiceNamespace": namespace, "ResourceId": resource, "ScalableDimension": dimension}
    return _key(props)


def _numbers(value: Any) -> Any:
    """Templates carry numbers as text as well."""
    if isinstance(value, dict):
        return {k: _numbers(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_numbers(v) for v in value]
    if isinstance(value, str) and value in ("true", "false"):
        return value == "true"
    if isinstance(value, str) and value.lstrip("-").isdigit():
        return int(value)
    return value


def _policy_put(props: dict[str, Any], name: str) -> Created:
    settings = {}
    for key in ("TargetTrackingScalingPolicyConfiguration", "StepScalingPolicyConfiguration"):
        if key in props:
            settings[key] = _numbers(props[key])
    answer = client("application-autoscaling").put_scaling_policy(
        PolicyName=props["PolicyName"], PolicyType=props["PolicyType"], **_policy_key(props), **settings)
    return answer["PolicyARN"], {"Arn": answer["PolicyARN"]}


def _policy_delete(physical_id: str, props: dict[str, Any]) -> None:
    client("application-autoscaling").delete_scaling_policy(PolicyName=props["PolicyName"], **_policy_key(props))


_RESOURCES = {
    "AWS::ApplicationAutoScaling::ScalableTarget": ApiResource(
        create=_target_put, update=_target_update, delete=_target_delete,
        properties=frozenset({"ServiceNamespace", "ResourceId", "ScalableDimension", "MinCapacity", "MaxCapacity",
                              "RoleARN", "SuspendedState"})),
    "AWS::ApplicationAutoScaling::ScalingPolicy": ApiResource(
        create=_policy_put, update=lambda physical_id, old, new: _policy_put(new, physical_id),
        delete=_policy_delete,
        properties=frozenset({"PolicyName", "PolicyType", "ServiceNamespace", "ResourceId", "ScalableDimension",
                              "ScalingTargetId", "TargetTrackingScalingPolicyConfiguration",
                              "StepScalingPolicyConfiguration"})),
}

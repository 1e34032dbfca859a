"""Application Auto Scaling for SageMaker variants: targets and policies are kept and described; nothing scales.

One process serves a variant here whatever its instance count, so there is nothing to scale.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from ministack.core.concurrency import run_reentrant
from ministack.core.responses import AccountRegionScopedDict, get_account_id, get_region

from local.sagemaker import state
from local.sagemaker.endpoint_state import live
from local.sagemaker.errors import ApiError, invalid, not_supported
from local.sagemaker.service import error_response
from local.sagemaker.validation import check

SERVICE = "application-autoscaling"
_targets, _policies = AccountRegionScopedDict(), AccountRegionScopedDict()
_VARIANT = "sagemaker:variant:DesiredInstanceCount"
_KEY = ("ServiceNamespace", "ResourceId", "ScalableDimension")


def _arn(kind: str, name: str) -> str:
    return f"arn:aws:{SERVICE}:{get_region()}:{get_account_id()}:{kind}/{name}"


def register_target(request: dict[str, Any]) -> dict[str, Any]:
    """RegisterScalableTarget creates, or changes what the request names."""
    key = tuple(request[k] for k in _KEY)
    if key[2] == _VARIANT:
        _check_variant(request["ResourceId"])
    with state.LOCK:
        known = _targets.get(key)
        if known is None and ("MinCapacity" not in request or "MaxCapacity" not in request):
            raise ApiError("ValidationException", "MinCapacity and MaxCapacity are required for a new scalable target")
        fresh = {"CreationTime": state.now(), "ScalableTargetARN": _arn("scalable-target", state.new_id())}
        record = {**(known or fresh)}
        record |= {k: v for k, v in request.items() if k != "Tags"}
        if record["MinCapacity"] > record["MaxCapacity"]:
            raise invalid(f"MinCapacity {record['MinCapacity']} must not exceed MaxCapacity {record['MaxCapacity']}")
        role = f"arn:aws:iam::{get_account_id()}:role/aws-service-role/sagemaker.{SERVICE}.amazonaws.com"
        record.setdefault("RoleARN", f"{role}/AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint")
        _targets[key] = record
    return {"ScalableTargetARN": record["ScalableTargetARN"]}


def _check_variant(resource: str) -> None:
    parts = resource.split("/")
    endpoint = live(state.arn("endpoint", parts[1])) if len(parts) == 4 else None
    if endpoint is None or endpoint.active is None or parts[3] not in endpoint.active.weights:
        raise invalid(f"{resource} is no variant of an endpoint in service; use endpoint/NAME/variant/VARIANT")


def describe_targets(request: dict[str, Any]) -> dict[str, Any]:
    ids, dimension = request.get("ResourceIds"), request.get("ScalableDimension")
    rows = [
        t for t in _targets.values()
        if t["ServiceNamespace"] == request["ServiceNamespace"] and (not ids or t["ResourceId"] in ids)
        and (not dimension or t["ScalableDimension"] == dimension)
    ]
    return {"ScalableTargets": rows}


def deregister_target(request: dict[str, Any]) -> dict[str, Any]:
    key = tuple(request[k] for k in _KEY)
    with state.LOCK:
        if key not in _targets:
            raise ApiError("ObjectNotFoundException", f"No scalable target found for {' '.join(key)}")
        del _targets[key]
        for name in [n for n in _policies if n[:3] == key]:
            del _policies[name]
    return {}


def put_policy(request: dict[str, Any]) -> dict[str, Any]:
    key = tuple(request[k] for k in _KEY)
    name = (*key, request["PolicyName"])
    with state.LOCK:
        if key not in _targets:
            raise ApiError("ObjectNotFoundException", f"No scalable target registered for {' '.join(key)}")
        known = _policies.get(name, {})
        _policies[name] = {
            "PolicyARN": _arn("scaling-policy", f"{state.new_id()}:policyName/{name[3]}"), "CreationTime": state.now(),
            **known, **request, "Alarms": [],
        }
        return {"PolicyARN": _policies[name]["PolicyARN"], "Alarms": []}


def describe_policies(request: dict[str, Any]) -> dict[str, Any]:
    names = request.get("PolicyNames")
    rows = [
        p for p in _policies.values()
        if p["ServiceNamespace"] == request["ServiceNamespace"]
        and request.get("ResourceId") in (None, p["ResourceId"]) and (not names or p["PolicyName"] in names)
    ]
    return {"ScalingPolicies": rows}


def delete_policy(request: dict[str, Any]) -> dict[str, Any]:
    name = (*(request[k] for k in _KEY), request["PolicyName"])
    with state.LOCK:
        if name not in _policies:
            raise ApiError("ObjectNotFoundException", f"No scaling policy found: {name[3]}")
        del _policies[name]
    return {}


_OPERATIONS: dict[str, tuple[Callable[[dict[str, Any]], dict[str, Any]], frozenset[str]]] = {
    name: (handler, frozenset(members.split()))
    for name, handler, members in (
        ("RegisterScalableTarget", register_target,
         "ServiceNamespace ResourceId ScalableDimension MinCapacity MaxCapacity RoleARN SuspendedState Tags"),
        ("DescribeScalableTargets", describe_targets,
         "ServiceNamespace ResourceIds ScalableDimension MaxResults NextToken"),
        ("DeregisterScalableTarget", deregister_target, "ServiceNamespace ResourceId ScalableDimension"),
        ("PutScalingPolicy", put_policy,
         "PolicyName ServiceNamespace ResourceId ScalableDimension PolicyType TargetTrackingScalingPolicyConfiguration "
         "StepScalingPolicyConfiguration"),
        ("DescribeScalingPolicies", describe_policies,
         "PolicyNames ServiceNamespace ResourceId ScalableDimension MaxResults NextToken"),
        ("DeleteScalingPolicy", delete_policy, "PolicyName ServiceNamespace ResourceId ScalableDimension"),
    )
}


async def handle_request(method: str, path: str, headers: dict, body: bytes, query_params: dict) -> Any:
    """ministack's service protocol."""
    return await run_reentrant(_handle, headers, body, thread_name="autoscaling-request")


def _handle(headers: dict, body: bytes) -> Any:
    operation = headers.get("x-amz-target", "").rpartition(".")[2]
    try:
        if operation not in _OPERATIONS:
            raise ApiError("ValidationException", not_supported(f"Application Auto Scaling {operation}").message)
        handler, members = _OPERATIONS[operation]
        request = json.loads(body or b"{}")
        check(SERVICE, operation, request, members)
        return 200, {"Content-Type": "application/x-amz-json-1.1"}, json.dumps(handler(request)).encode()
    except ApiError as error:
        return error_response(error)


def get_state() -> dict[str, Any]:
    return {"targets": _targets, "policies": _policies}


def load_persisted_state(data: dict[str, Any]) -> None:
    _targets.update(data.get("targets", {}))
    _policies.update(data.get("policies", {}))


def reset() -> None:
    _targets.clear()
    _policies.clear()

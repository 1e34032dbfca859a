"""Endpoints: create, update, describe, delete and weights. The work is done by `rollout` in a thread."""

from __future__ import annotations

from typing import Any

from local.sagemaker import rollout, state
from local.sagemaker.endpoint_state import Endpoint, find_endpoint, live
from local.sagemaker.errors import invalid, not_supported
from local.sagemaker.models import find_endpoint_config, find_model, tag
from local.sagemaker.operations import PAGE, TIMES, operation

_BLUE_GREEN = "DeploymentConfig.BlueGreenUpdatePolicy"
_LIMITS = {"CANARY": ("CanarySize", 50), "LINEAR": ("LinearStepSize", 50)}


@operation("CreateEndpoint", "EndpointName EndpointConfigName Tags")
def create_endpoint(request: dict[str, Any]) -> dict[str, Any]:
    name = request["EndpointName"]
    config = find_endpoint_config(request["EndpointConfigName"])
    for variant in config["ProductionVariants"]:
        find_model(variant["ModelName"])
    arn, stamp = state.arn("endpoint", name), state.now()
    with state.LOCK:
        if name in state.store("endpoint"):
            raise invalid(f'Cannot create already existing endpoint "{arn}".')
        record = {
            "EndpointName": name, "EndpointArn": arn, "EndpointConfigName": config["EndpointConfigName"],
            "EndpointStatus": "Creating", "CreationTime": stamp, "LastModifiedTime": stamp,
        }
        state.store("endpoint")[name] = record
    tag(arn, request)
    endpoint = Endpoint(record)
    endpoint.announce()
    state.background(lambda: rollout.create(endpoint, config), name=f"create-{name}")
    return {"EndpointArn": arn}


@operation(
    "UpdateEndpoint",
    "EndpointName EndpointConfigName RetainAllVariantProperties RetainDeploymentConfig "
    f"{_BLUE_GREEN}.TrafficRoutingConfiguration {_BLUE_GREEN}.TerminationWaitInSeconds "
    f"{_BLUE_GREEN}.MaximumExecutionTimeoutInSeconds DeploymentConfig.AutoRollbackConfiguration",
)
def update_endpoint(request: dict[str, Any]) -> dict[str, Any]:
    record = find_endpoint(request["EndpointName"])
    config = find_endpoint_config(request["EndpointConfigName"])
    deployment = request.get("DeploymentConfig")
    if request.get("RetainDeploymentConfig"):
        deployment = deployment or record.get("LastDeploymentConfig")
    _check_deployment(deployment or {})
    if "AsyncInferenceConfig" in config and deployment and "BlueGreenUpdatePolicy" in deployment:
        routing = deployment["BlueGreenUpdatePolicy"]["TrafficRoutingConfiguration"]
        if routing["Type"] != "ALL_AT_ONCE":
            raise invalid(f"Traffic routing {routing['Type']} is not possible for asynchronous endpoints")
    endpoint = _begin_update(record)
    try:
        alarms = rollout.alarm_watch(endpoint, config, deployment or {})
    except Exception:
        endpoint.set_status("InService")
        raise
    if request.get("RetainAllVariantProperties"):
        config = rollout.with_retained(endpoint, config)
    state.background(
        lambda: rollout.update(endpoint, config, deployment or {}, alarms), name=f"update-{endpoint.name}"
    )
    return {"EndpointArn": record["EndpointArn"]}


def _begin_update(record: dict[str, Any]) -> Endpoint:
    with state.LOCK:
        if record["EndpointStatus"] in ("Creating", "Updating", "RollingBack", "SystemUpdating", "Deleting"):
            raise invalid(f'Cannot update in-progress endpoint "{record["EndpointArn"]}".')
        endpoint = live(record["EndpointArn"])
        if endpoint is None or record["EndpointStatus"] == "Failed":
            raise invalid(
                f'Cannot update endpoint "{record["EndpointArn"]}" in status {record["EndpointStatus"]}; '
                "delete it and create it again."
            )
        endpoint.set_status("Updating")
    return endpoint


def _check_deployment(deployment: dict[str, Any]) -> None:
    routing = deployment.get("BlueGreenUpdatePolicy", {}).get("TrafficRoutingConfiguration", {})
    kind = routing.get("Type", "ALL_AT_ONCE")
    if kind in _LIMITS:
        member, most = _LIMITS[kind]
        size = routing.get(member)
        if size is None:
            raise invalid(f"{member} is required for traffic routing {kind}")
        least = 10 if kind == "LINEAR" else 1
        if size["Type"] == "CAPACITY_PERCENT" and not least <= size["Value"] <= most:
            raise invalid(f"{member} must be {least} to {most} percent of the capacity, got {size['Value']}")
    if "RollingUpdatePolicy" in deployment:
        raise not_supported("RollingUpdatePolicy")


@operation("UpdateEndpointWeightsAndCapacities", "EndpointName DesiredWeightsAndCapacities")
def update_weights(request: dict[str, Any]) -> dict[str, Any]:
    record = find_endpoint(request["EndpointName"])
    endpoint = _begin_update(record)
    try:
        for item in request["DesiredWeightsAndCapacities"]:
            fleet, name = endpoint.active, item["VariantName"]
            if fleet is None or name not in fleet.weights:
                raise invalid(f'Variant {name} does not exist in endpoint "{record["EndpointArn"]}".')
            fleet.weights[name] = item.get("DesiredWeight", fleet.weights[name])
            fleet.counts[name] = item.get("DesiredInstanceCount", fleet.counts[name])
    finally:
        endpoint.set_status("InService")
    return {"EndpointArn": record["EndpointArn"]}


@operation("DescribeEndpoint", "EndpointName")
def describe_endpoint(request: dict[str, Any]) -> dict[str, Any]:
    record = find_endpoint(request["EndpointName"])
    with state.LOCK:
        endpoint = live(record["EndpointArn"])
        fleet = endpoint.active if endpoint else None
        return {**state.public(record), **(fleet.describe() if fleet else {})}


@operation("DeleteEndpoint", "EndpointName")
def delete_endpoint(request: dict[str, Any]) -> dict[str, Any]:
    record = find_endpoint(request["EndpointName"])
    with state.LOCK:
        if record["EndpointStatus"] in ("Creating", "Updating", "RollingBack"):
            raise invalid(f'Cannot update in-progress endpoint "{record["EndpointArn"]}".')
        endpoint = live(record["EndpointArn"])
        record["EndpointStatus"] = "Deleting"
        del state.store("endpoint")[record["EndpointName"]]
    if endpoint:
        endpoint.announce()
        state.background(endpoint.close, name=f"delete-{endpoint.name}")
    return {}


@operation("ListEndpoints", f"{PAGE} {TIMES}")
def list_endpoints(request: dict[str, Any]) -> dict[str, Any]:
    return state.listing(
        list(state.store("endpoint").values()), request, answer="Endpoints",
        summary=("EndpointName", "EndpointArn", "CreationTime", "LastModifiedTime", "EndpointStatus"),
    )

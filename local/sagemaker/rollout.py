"""How an endpoint gets its first fleet and changes to the next: blue/green with canary, linear or all at once.

Roll-back is silent, as on AWS: the endpoint is InService again under its old configuration name, and only that
name tells. All waits are AWS seconds, divided by the clock factor.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from local.sagemaker import roles, state
from local.sagemaker.async_inference import AsyncQueue
from local.sagemaker.aws_http import AwsError, Client
from local.sagemaker.endpoint_state import Endpoint
from local.sagemaker.errors import ApiError, JobFailure, invalid
from local.sagemaker.fleet import Fleet
from local.sagemaker.models import find_endpoint_config, find_model

_ALARM_POLL_S = 0.1
_DOOMED: set[str] = set()  # endpoints whose next fleet never serves: a fault on purpose


@contextmanager
def doomed(endpoint: str) -> Iterator[Callable[[bool], None]]:
    """The fleet that is asked for in the block will not serve; the block says whether it was asked for at all."""
    _DOOMED.add(endpoint)

    def asked(accepted: bool) -> None:
        if not accepted:
            _DOOMED.discard(endpoint)

    yield asked


class RollBack(Exception):
    """The update does not go on: an alarm, a time limit, a fleet that does not start."""


@dataclass(frozen=True, kw_only=True)
class AlarmWatch:
    """The alarms of an AutoRollbackConfiguration, read with the execution role."""

    names: tuple[str, ...]
    client: Client

    def raise_if_tripped(self) -> None:
        if not self.names:
            return
        tripped = [a["AlarmName"] for a in self.states() if a["StateValue"] == "ALARM"]
        if tripped:
            raise RollBack(f"alarm {', '.join(tripped)} is in state ALARM")

    def states(self) -> list[dict[str, Any]]:
        request = {"AlarmNames": list(self.names), "AlarmTypes": ["MetricAlarm", "CompositeAlarm"]}
        answer = self.client.call("cloudwatch", "DescribeAlarms", request)
        return [*answer.get("MetricAlarms", []), *answer.get("CompositeAlarms", [])]


def alarm_watch(endpoint: Endpoint, config: dict[str, Any], deployment: dict[str, Any]) -> AlarmWatch:
    """Refuse alarms that do not exist or that the role may not read, before anything starts."""
    alarms = deployment.get("AutoRollbackConfiguration", {}).get("Alarms", [])
    names = tuple(a["AlarmName"] for a in alarms)
    role = find_model(config["ProductionVariants"][0]["ModelName"])["ExecutionRoleArn"]
    watch = AlarmWatch(names=names, client=roles.assume(role, f"SageMaker-{endpoint.name}"))
    if names:
        try:
            missing = set(names) - {a["AlarmName"] for a in watch.states()}
        except AwsError as error:
            raise invalid(f"Cannot read the auto-rollback alarms with role {role}: {error}") from error
        if missing:
            raise invalid(f"Auto-rollback alarm {', '.join(sorted(missing))} does not exist")
    return watch


def create(endpoint: Endpoint, config: dict[str, Any]) -> None:
    fleet = Fleet(endpoint.name, config)
    try:
        fleet.start()
        _raise_if_doomed(endpoint)
    except JobFailure as failure:
        endpoint.set_status("Failed", FailureReason=failure.reason)
        return
    except RollBack as reason:
        fleet.close()
        endpoint.set_status("Failed", FailureReason=str(reason))
        return
    _activate(endpoint, fleet)
    endpoint.set_status("InService")


def _activate(endpoint: Endpoint, fleet: Fleet) -> None:
    with state.LOCK:
        endpoint.active, endpoint.incoming, endpoint.share = fleet, None, 0.0
        endpoint.record["EndpointConfigName"] = fleet.config_name
        endpoint.record["AsyncInferenceConfig"] = fleet.config.get("AsyncInferenceConfig")
        endpoint.record.pop("PendingDeploymentSummary", None)
    if fleet.config.get("AsyncInferenceConfig") and endpoint.queue is None:
        endpoint.queue = AsyncQueue(endpoint)


def update(endpoint: Endpoint, config: dict[str, Any], deployment: dict[str, Any], alarms: AlarmWatch) -> None:
    """Start the new fleet, move traffic to it step by step, end the old fleet."""
    old, new = endpoint.active, Fleet(endpoint.name, config)
    policy = deployment.get("BlueGreenUpdatePolicy", {})
    with state.LOCK:
        endpoint.record["PendingDeploymentSummary"] = {
            "EndpointConfigName": config["EndpointConfigName"], "StartTime": state.now()
        }
    try:
        alarms.raise_if_tripped()
        try:
            new.start()
        except JobFailure as failure:
            raise RollBack(failure.reason) from failure
        # Containers start in real time, which no clock factor shortens; their own health check limits that.
        limit = policy.get("MaximumExecutionTimeoutInSeconds")
        deadline = time.monotonic() + state.config().scaled(limit) if limit else float("inf")
        with state.LOCK:
            endpoint.incoming, endpoint.share = new, 0.0
        for share, seconds in _steps(policy, new):
            with state.LOCK:
                endpoint.share = share
            _raise_if_doomed(endpoint)
            _bake(seconds, alarms, deadline)
    except (RollBack, AwsError) as reason:
        _roll_back(endpoint, new, str(reason))
        return
    _activate(endpoint, new)
    if old is not None:
        old.close()
    fields = {"LastDeploymentConfig": deployment} if deployment else {}
    endpoint.set_status("InService", **fields)


def _raise_if_doomed(endpoint: Endpoint) -> None:
    if endpoint.name in _DOOMED:
        _DOOMED.discard(endpoint.name)
        raise RollBack("a fault on purpose")


def _steps(policy: dict[str, Any], fleet: Fleet) -> list[tuple[float, float]]:
    """(share of the new fleet, AWS seconds to watch alarms) for each step; the last is the termination wait."""
    routing = policy.get("TrafficRoutingConfiguration", {"Type": "ALL_AT_ONCE"})
    wait, termination = routing.get("WaitIntervalInSeconds", 0), policy.get("TerminationWaitInSeconds", 0)
    if routing["Type"] == "CANARY":
        return [(_part(routing["CanarySize"], fleet), wait), (1.0, wait), (1.0, termination)]
    if routing["Type"] == "LINEAR":
        part = _part(routing["LinearStepSize"], fleet)
        count = -int(-1 // part)
        return [*((min(1.0, part * i), wait) for i in range(1, count + 1)), (1.0, termination)]
    return [(1.0, wait), (1.0, termination)]


def _part(size: dict[str, Any], fleet: Fleet) -> float:
    if size["Type"] == "CAPACITY_PERCENT":
        return float(size["Value"]) / 100
    return min(1.0, float(size["Value"]) / max(1, sum(fleet.counts.values())))


def _bake(seconds: float, alarms: AlarmWatch, deadline: float) -> None:
    until = time.monotonic() + state.config().scaled(seconds)
    while True:
        alarms.raise_if_tripped()
        left = until - time.monotonic()
        if time.monotonic() > deadline:
            raise RollBack("MaximumExecutionTimeoutInSeconds is over")
        if left <= 0:
            return
        time.sleep(min(_ALARM_POLL_S, left))


def _roll_back(endpoint: Endpoint, new: Fleet, reason: str) -> None:
    state.logger.info("endpoint %s rolls back: %s", endpoint.name, reason)
    endpoint.set_status("RollingBack")
    with state.LOCK:
        endpoint.incoming, endpoint.share = None, 0.0
        endpoint.record.pop("PendingDeploymentSummary", None)
    new.close()
    try:
        old = find_endpoint_config(endpoint.record["EndpointConfigName"])
        for variant in old["ProductionVariants"]:
            find_model(variant["ModelName"])
    except ApiError as gone:
        endpoint.set_status("UpdateRollbackFailed", FailureReason=f"Cannot roll back after: {reason}. {gone.message}")
        return
    endpoint.set_status("InService")


def with_retained(endpoint: Endpoint, config: dict[str, Any]) -> dict[str, Any]:
    """RetainAllVariantProperties: weights and counts of variants that stay are kept."""
    config, active = copy.deepcopy(config), endpoint.active
    for variant in config["ProductionVariants"]:
        if active is not None and variant["VariantName"] in active.weights:
            variant["InitialVariantWeight"] = active.weights[variant["VariantName"]]
            variant["InitialInstanceCount"] = active.counts[variant["VariantName"]]
    return config

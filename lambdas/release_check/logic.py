"""Has the endpoint arrived? SageMaker's automatic roll-back is silent: InService, on the old config."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from contracts.records import VARIANT
from contracts.serving import ServingSpec
from lambdas.shared import endpoints
from lambdas.shared.endpoints import EndpointState
from lambdas.shared.errors import ProbeFailed

SCALE_OUT_COOLDOWN_S, SCALE_IN_COOLDOWN_S = 60, 600  # out fast, in slowly: bursts come in pairs
PROBE_TEXT = "Where is my order?"
_DIMENSION = "sagemaker:variant:DesiredInstanceCount"


class State(StrEnum):
    UPDATING = "updating"
    SERVING = "serving"
    ROLLED_BACK = "rolled_back"
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True)
class Arrival:
    state: State
    reason: str = ""


def arrival(found: EndpointState | None, wanted: str) -> Arrival:
    if found is None:
        return Arrival(state=State.FAILED, reason="the endpoint does not exist")
    if found.moving:
        return Arrival(state=State.UPDATING, reason=found.status)
    if found.status != endpoints.IN_SERVICE:
        return Arrival(state=State.FAILED, reason=f"{found.status}: {found.reason}".rstrip(": "))
    if found.config != wanted:
        return Arrival(
            state=State.ROLLED_BACK, reason=f"serves {found.config}, not {wanted} {found.reason}".rstrip()
        )
    return Arrival(state=State.SERVING)


def answered_version(body: bytes) -> str:
    """The version that answered a probe."""
    try:
        return str(json.loads(body)["model_version"])
    except (ValueError, KeyError, TypeError):
        raise ProbeFailed("the endpoint's answer names no model_version") from None


def scalable_target(endpoint: str, spec: ServingSpec) -> dict[str, Any]:
    return {**_resource(endpoint), "MinCapacity": spec.min_instances, "MaxCapacity": spec.max_instances}


def scaling_policy(endpoint: str, spec: ServingSpec) -> dict[str, Any]:
    return {
        **_resource(endpoint),
        "PolicyName": f"{endpoint}-invocations",
        "PolicyType": "TargetTrackingScaling",
        "TargetTrackingScalingPolicyConfiguration": {
            "TargetValue": float(spec.invocations_per_instance),
            "PredefinedMetricSpecification": {
                "PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"
            },
            "ScaleOutCooldown": SCALE_OUT_COOLDOWN_S,
            "ScaleInCooldown": SCALE_IN_COOLDOWN_S,
        },
    }


def _resource(endpoint: str) -> dict[str, str]:
    return {
        "ServiceNamespace": "sagemaker",
        "ResourceId": f"endpoint/{endpoint}/variant/{VARIANT}",
        "ScalableDimension": _DIMENSION,
    }

"""Serving spec + model -> the requests that make it serve, and what to do with the endpoint as it is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from math import ceil
from typing import Any

from contracts import naming, workflow
from contracts.instances import takes_volume_key
from contracts.records import SHADOW_VARIANT, VARIANT
from contracts.serving import CANARY, ServingSpec, ShadowPolicy
from lambdas.shared import endpoints
from lambdas.shared.endpoints import EndpointState
from lambdas.shared.errors import GuardrailMissing, GuardrailRings, NeverPromoted

PROVISIONING_S = 1_800  # a new fleet starts, downloads the model and answers its health check within this
MIN_EXECUTION_S, MAX_EXECUTION_S = 600, 28_800  # SageMaker's limits of a deployment


@dataclass(frozen=True, kw_only=True)
class ServedModel:
    version: str
    model_uri: str
    manifest_sha256: str


class Action(StrEnum):
    NONE = "none"
    CREATE = "create"
    UPDATE = "update"
    # Two actions that end in planning again, carried out by the planner itself:
    ABORT_CANARY = "abort_canary"
    DELETE_FAILED = "delete_failed"  # SageMaker allows nothing else for a Failed endpoint
    WAIT = "wait"


def from_pointer(pointer: Mapping[str, Any] | None, which: str, story: str) -> ServedModel:
    """The pointer's `current` or `previous` version."""
    chosen = pointer if which == "current" else (pointer or {}).get("previous")
    if not chosen:
        what = "was never promoted" if pointer is None else "has no previous version"
        raise NeverPromoted(f"{story} {what}: there is nothing to release as {which!r}")
    return ServedModel(
        version=str(chosen["version"]),
        model_uri=str(chosen["model_uri"]),
        manifest_sha256=str(chosen["manifest_sha256"]),
    )


def with_techniques(spec: ServingSpec, slug: str, techniques: Mapping[str, bool]) -> ServingSpec:
    """Technique flags as container settings: `intent_classifier_prefilter_enabled` is PREFILTER_ENABLED.

    They become part of the spec, so that a flipped flag gives another endpoint config.
    """
    prefix = naming.snake(slug) + "_"
    settings = {name.removeprefix(prefix).upper(): str(on).lower() for name, on in sorted(techniques.items())}
    return replace(spec, environment={**spec.environment, **settings})


def model_request(
    spec: ServingSpec, model: ServedModel, *, name: str, public_key: str, shadow: bool = False
) -> dict[str, Any]:
    """CreateModel: network-isolated, so the container gets what it verifies against as settings.

    A shadow is a model of its own, for it must count its answers apart.
    """
    return {
        "ModelName": name,
        "ExecutionRoleArn": spec.role_arn,
        "EnableNetworkIsolation": True,
        "VpcConfig": {"Subnets": list(spec.subnets), "SecurityGroupIds": list(spec.security_groups)},
        "PrimaryContainer": {
            "Image": spec.image,
            "ModelDataSource": {
                "S3DataSource": {
                    "S3Uri": model.model_uri,
                    "S3DataType": "S3Prefix",
                    "CompressionType": "None",
                }
            },
            "Environment": {
                **spec.environment,
                "STORY": spec.story,
                "MODEL_VERSION": model.version,
                "MODEL_MANIFEST_SHA256": model.manifest_sha256,
                "MODEL_PUBLIC_KEY": public_key,
                **({"MODEL_SHADOW": "true"} if shadow else {}),
            },
        },
    }


def endpoint_config_request(spec: ServingSpec, *, name: str) -> dict[str, Any]:
    request: dict[str, Any] = {
        "EndpointConfigName": name,
        "ProductionVariants": [
            {
                "VariantName": VARIANT,
                "ModelName": name,
                "InstanceType": spec.instance_type,
                "InitialInstanceCount": spec.min_instances,
                "InitialVariantWeight": 1.0,
            }
        ],
    }
    if takes_volume_key(spec.instance_type):
        request["KmsKeyId"] = spec.kms_key
    return request


def shadow_config_request(
    spec: ServingSpec, own: Mapping[str, Any], *, name: str, policy: ShadowPolicy, instances: int
) -> dict[str, Any] | None:
    """The champion as its `own` config says, and the model of the same `name` as its shadow.

    The shadow has the share of the champion's `instances` that its share of the requests needs: one that is too small
    would be slow without being worse. None when one of the two takes a key for its volume and the other doesn't, for
    a config has one key or none.
    """
    champion = own["ProductionVariants"][0]
    with_key = takes_volume_key(spec.instance_type)
    if takes_volume_key(champion["InstanceType"]) != with_key:
        return None
    share = policy.percent / 100
    request: dict[str, Any] = {
        "EndpointConfigName": name,
        "ProductionVariants": [champion],
        "ShadowProductionVariants": [
            {
                "VariantName": SHADOW_VARIANT,
                "ModelName": name,
                "InstanceType": spec.instance_type,
                "InitialInstanceCount": max(1, ceil(instances * share)),
                # What is mirrored is this weight over the champion's; at 100 % the two are equal.
                "InitialVariantWeight": champion.get("InitialVariantWeight", 1.0) * share,
            }
        ],
    }
    if with_key:
        request["KmsKeyId"] = spec.kms_key
    return request


def watched(policy: ShadowPolicy) -> dict[str, Any]:
    """How often a shadow is looked at, the first look included, and what its judge must know."""
    return {**asdict(policy), "looks": policy.watch_s // workflow.SHADOW_POLL_S + 1}


def deployment_config(spec: ServingSpec) -> dict[str, Any]:
    """Blue/green in the contract's steps, guarded by alarms; the previous fleet stays warm for `termination_wait_s`."""
    canary = spec.canary
    longest = PROVISIONING_S + canary.shifting_s + canary.termination_wait_s
    size = "CanarySize" if canary.routing == CANARY else "LinearStepSize"
    return {
        "BlueGreenUpdatePolicy": {
            "TrafficRoutingConfiguration": {
                "Type": canary.routing,
                "WaitIntervalInSeconds": canary.bake_s,
                size: {"Type": "CAPACITY_PERCENT", "Value": canary.percent},
            },
            "TerminationWaitInSeconds": canary.termination_wait_s,
            "MaximumExecutionTimeoutInSeconds": min(max(longest, MIN_EXECUTION_S), MAX_EXECUTION_S),
        },
        "AutoRollbackConfiguration": _guardrails(spec),
    }


def shadow_deployment_config(spec: ServingSpec) -> dict[str, Any]:
    """All at once, for the champion goes on answering. Guarded, so that it can be aborted."""
    return {
        "BlueGreenUpdatePolicy": {
            "TrafficRoutingConfiguration": {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 0},
            "TerminationWaitInSeconds": 0,
            "MaximumExecutionTimeoutInSeconds": PROVISIONING_S,
        },
        "AutoRollbackConfiguration": _guardrails(spec),
    }


def _guardrails(spec: ServingSpec) -> dict[str, Any]:
    if not 1 <= len(spec.guardrail_alarms) <= 10:
        raise ValueError(
            f"guardrail_alarms must be 1 to 10 (SageMaker's limit), got {len(spec.guardrail_alarms)}"
        )
    return {"Alarms": [{"AlarmName": name} for name in spec.guardrail_alarms]}


def refuse_while_ringing(spec: ServingSpec, alarms: Iterable[Mapping[str, Any]]) -> None:
    """`alarms`: what CloudWatch says of the spec's guardrails, each with AlarmName and StateValue."""
    states = {str(alarm["AlarmName"]): alarm["StateValue"] for alarm in alarms}
    missing = [name for name in spec.guardrail_alarms if name not in states]
    if missing:
        raise GuardrailMissing(
            f"guardrail alarm {', '.join(missing)} of {spec.story} is no metric alarm that exists; "
            "deploy the story's stack"
        )
    ringing = [name for name in spec.guardrail_alarms if states[name] == "ALARM"]
    if ringing:
        raise GuardrailRings(
            f"{', '.join(ringing)} in ALARM: a deployment of {spec.story} would be sent back at once; "
            "release when the alarm is over, or go back to the previous version"
        )


def going_back_config() -> dict[str, Any]:
    """All at once and unguarded: an alarm that rings for the version that is left would undo the roll-back."""
    return {
        "BlueGreenUpdatePolicy": {
            "TrafficRoutingConfiguration": {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 0},
            "TerminationWaitInSeconds": 0,
            "MaximumExecutionTimeoutInSeconds": MAX_EXECUTION_S,
        }
    }


def undone(state: EndpointState | None, name: str, *, any_spec: str) -> str:
    """The config that an undo wants: the champion's own when it still serves, whatever spec it was made from.

    An undo is unguarded, and the newest spec may be just what failed. `any_spec`: how the champion's names begin. Of a
    champion with a shadow it is the config without.
    """
    stands = state is not None and state.status != endpoints.ROLLBACK_FAILED and state.config.startswith(any_spec)
    return naming.champions_own_config(state.config) if state is not None and stands else name


def shadow_stop(state: EndpointState, wanted: str, policy: ShadowPolicy, *, champion: str) -> str | None:
    """The config with the wanted one's model as the champion's shadow, where a release stops on its way to `wanted`.

    None when it goes without: another version than the promoted one serves, or the same is wanted, or the endpoint is
    not at rest and not on its way there either. `champion`: how the names of the promoted version begin.
    """
    if wanted.startswith(champion) or not state.config.startswith(champion):
        return None
    stop = naming.shadow_config(naming.champions_own_config(state.config), wanted, policy.percent)
    on_its_way = state.status == endpoints.UPDATING and state.pending == stop
    return stop if state.status == endpoints.IN_SERVICE or on_its_way else None


def choose_action(state: EndpointState | None, wanted: str) -> Action:
    """What brings the endpoint to the config `wanted`, from whatever it is doing."""
    if state is None:
        return Action.CREATE
    if state.status == endpoints.FAILED:
        return Action.DELETE_FAILED
    if state.status == endpoints.UPDATING:
        # an update in flight to the wanted config is ours, its answer was lost
        return Action.NONE if state.pending == wanted else Action.ABORT_CANARY
    if state.status in (endpoints.CREATING, endpoints.ROLLING_BACK):
        return Action.NONE if state.config == wanted else Action.WAIT
    if state.status == endpoints.IN_SERVICE:
        return Action.NONE if state.config == wanted else Action.UPDATE
    if state.status == endpoints.ROLLBACK_FAILED:
        return Action.UPDATE  # which fleet serves is not certain, even under the wanted config
    return Action.WAIT  # SystemUpdating, Deleting, OutOfService: SageMaker's own doing

"""{"story", "token"?, "version": "N"|"current"|"previous", "undo"?, "heed_switches"?, "shadowed"?} ->
{"action": none|create|update, "phase": shadow|canary, requests ...}.

A candidate that is released under the kill switches stops on its way as the champion's shadow, when its story has one;
`shadowed` says that it was one. `version` in the answer is what serves when the endpoint has arrived.
EndpointBusy (retry) after a canary was told to abort, a failed endpoint was deleted, or while the
endpoint moves by itself; GuardrailRings (retry) while an alarm would send the deployment back. Going
back and undoing wait for no alarm. LeaseLost when another run took over, also while this one waited. The signature
is verified before anything is planned.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import Any

from contracts import metrics, naming, records, stories, workflow
from contracts.functions import ReleasePlanEnv
from contracts.kill_switches import parse_flag
from contracts.serving import ServingSpec
from contracts.story import StoryContract
from lambdas.release_plan import logic
from lambdas.release_plan.logic import Action, ServedModel
from lambdas.shared import endpoints
from lambdas.shared.aws import client, environment
from lambdas.shared.dynamo import read_control
from lambdas.shared.endpoints import EndpointState
from lambdas.shared.errors import EndpointBusy, LeaseLost, VersionRejected
from lambdas.shared.flags import read_flags
from lambdas.shared.objects import S3Uri
from lambdas.shared.observability import count, instrumented, logger, put_metric
from lambdas.shared.pointer import read_pointer
from lambdas.shared.serving_spec import read_spec
from lambdas.shared.signatures import verify_published

SHADOW, CANARY = workflow.SHADOW_PHASE, workflow.CANARY_PHASE


@dataclass(frozen=True, kw_only=True)
class Stop:
    """Where the endpoint goes next, and which version answers there."""

    phase: str
    version: str
    config: dict[str, Any]
    deployment: dict[str, Any]
    watched: dict[str, Any] = field(default_factory=dict)  # of a shadow

    @property
    def name(self) -> str:
        return str(self.config["EndpointConfigName"])


@instrumented("release_plan")
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    env, story = environment(ReleasePlanEnv), stories.story(event["story"])
    version = str(event["version"])
    # Absent in an execution that began before the machine passed them on.
    undo, token = bool(event.get("undo", False)), event.get("token")
    going_back = undo or version == "previous"
    if token is not None:
        _hold_lease(env.CONTROL_TABLE, story.slug, int(token))
    model = _model(version, story.slug, env)
    verify_published(
        client("s3"),
        client("kms"),
        key=env.SIGNING_KEY_ARN,
        model_uri=S3Uri.parse(model.model_uri),
        manifest_sha256=model.manifest_sha256,
        story=story.slug,
    )
    spec = logic.with_techniques(
        read_spec(client("dynamodb"), env.CONTROL_TABLE, story.slug), story.slug, _techniques(story)
    )
    endpoint = naming.endpoint(story.slug)
    state = endpoints.describe(client("sagemaker"), endpoint)
    name = naming.sagemaker_model(story.slug, model.version, spec.digest())
    if undo:
        name = logic.undone(state, name, any_spec=naming.sagemaker_model(story.slug, model.version, ""))
    stop = Stop(
        phase=CANARY,
        version=model.version,
        config=logic.endpoint_config_request(spec, name=name),
        deployment=logic.going_back_config() if going_back else logic.deployment_config(spec),
    )
    if event.get("heed_switches") and not event.get("shadowed") and not going_back:
        stop = _shadow(env, spec, state, name) or stop
    action = logic.choose_action(state, stop.name)
    if action not in (Action.NONE, Action.CREATE, Action.UPDATE):
        _clear_the_way(action, endpoint, story.slug)
        raise EndpointBusy(
            f"{endpoint} must come to rest before it can move to {stop.name} ({action}); plan again"
        )
    if action is Action.UPDATE and not going_back:
        _hear_guardrails(spec)
    key = client("kms").get_public_key(KeyId=env.SIGNING_KEY_ARN)["PublicKey"]
    return {
        "action": str(action),
        "phase": stop.phase,
        "version": stop.version,
        "endpoint_name": endpoint,
        "model_name": stop.name,
        "endpoint_config_name": stop.name,
        "model": logic.model_request(
            spec,
            model,
            name=stop.name,
            public_key=base64.b64encode(key).decode(),
            shadow=stop.phase == SHADOW,
        ),
        "endpoint_config": stop.config,
        "deployment_config": stop.deployment,
        "shadow": stop.watched,
    }


def _shadow(env: ReleasePlanEnv, spec: ServingSpec, state: EndpointState | None, candidate: str) -> Stop | None:
    """None when the story has no shadow, or this release can have none."""
    if spec.shadow is None or state is None:
        return None
    pointer = read_pointer(client("dynamodb"), env.CONTROL_TABLE, spec.story)
    version = str(pointer["version"]) if pointer else records.NO_CHAMPION
    name = logic.shadow_stop(
        state, candidate, spec.shadow, champion=naming.sagemaker_model(spec.story, version, "")
    )
    if name is None:
        return None
    own = client("sagemaker").describe_endpoint_config(
        EndpointConfigName=naming.champions_own_config(state.config)
    )
    config = logic.shadow_config_request(
        spec, own, name=name, policy=spec.shadow, instances=state.instances
    )
    if config is None:
        logger.warning("no shadow: one of the two takes a key for its volume and the other does not")
        return None
    return Stop(
        phase=SHADOW,
        version=version,
        config=config,
        deployment=logic.shadow_deployment_config(spec),
        watched=logic.watched(spec.shadow),
    )


def _hold_lease(table: str, story: str, token: int) -> None:
    """A lease that was given back or ran out still has the last holder's token: nobody took over."""
    lease = read_control(client("dynamodb"), table, story, records.LEASE) or {}
    if lease.get("token", 0) != token:
        winner = lease.get("last_holder") or "another run"
        raise LeaseLost(f"token {token} of {story} is no longer the lease's: {winner} took over, and this run leaves "
                        "the endpoint to it")


def _model(version: str, story: str, env: ReleasePlanEnv) -> ServedModel:
    """By the pointer for current and previous, so that going back needs no registry."""
    if version in ("current", "previous"):
        return logic.from_pointer(read_pointer(client("dynamodb"), env.CONTROL_TABLE, story), version, story)
    arn = env.MODEL_PACKAGE_GROUP_ARN.replace(":model-package-group/", ":model-package/") + f"/{version}"
    package = client("sagemaker").describe_model_package(ModelPackageName=arn)
    if package["ModelApprovalStatus"] == "Rejected":
        raise VersionRejected(
            f"version {version} of {story} is rejected in the registry; release another one"
        )
    source = package["InferenceSpecification"]["Containers"][0]["ModelDataSource"]["S3DataSource"]
    return ServedModel(
        version=version,
        model_uri=source["S3Uri"],
        manifest_sha256=package["CustomerMetadataProperties"]["manifest_sha256"],
    )


def _techniques(story: StoryContract) -> dict[str, bool]:
    readings = read_flags(story.techniques) if story.techniques else {}
    values: dict[str, bool] = {}
    for flag in story.techniques:
        read = parse_flag(readings[flag.name])
        if read is None:
            count(metrics.FLAG_FALLBACK, story=story.slug, flag=flag.name)
        values[flag.name] = flag.safe if read is None else read
    return values


def _hear_guardrails(spec: ServingSpec) -> None:
    """Metric alarms only: composite ones are shown to nobody whose grant names alarms."""
    found = client("cloudwatch").describe_alarms(AlarmNames=list(spec.guardrail_alarms))["MetricAlarms"]
    logic.refuse_while_ringing(spec, found)


def _clear_the_way(action: Action, endpoint: str, story: str) -> None:
    if action is Action.ABORT_CANARY:
        put_metric(client("cloudwatch"), [(metrics.CANARY_ABORT, 1, {"story": story})])
    elif action is Action.DELETE_FAILED:
        client("sagemaker").delete_endpoint(EndpointName=endpoint)
    logger.warning("endpoint is not at rest", action=str(action))

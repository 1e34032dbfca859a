"""The release machine of the `endpoint` strategy: one version becomes what the endpoint serves.

Input {"story", "token", "version": "N|current|previous", "heed_switches": bool, "undo": bool}. SageMaker's automatic
roll-back is silent, so only CheckRelease, which compares configs and asks the endpoint, says
"serving". With `heed_switches` the kill switches are read before the update and at every tick, and at every tick the
canary is judged beside the champion; a roll-back doesn't heed them, since it is the way out. For the same reason
neither `previous` nor `undo` waits for guardrail alarms or is guarded by them. Planning, which may wait, goes on only
while the lease still has our token: a roll-back that took it must not be undone by the run that it pre-empted.

A candidate stops on its way as the champion's shadow, when its story has one: the planner plans that stop first, and
when the shadow has been watched it plans again, with all that a plan asks for, and what comes then is the canary.
"""

from __future__ import annotations

from collections.abc import Mapping

from aws_cdk import aws_kms as kms

from constructs import Construct
from contracts import metrics, naming, workflow
from contracts.instances import takes_volume_key
from contracts.story import StoryContract
from mlplatform import asl
from mlplatform.policies import allow, arn, arn_of, hand_key_to_aws, pass_role, put_metrics
from mlplatform.realtime_endpoint import read_guardrails
from mlplatform.state_machine import StateMachine

_IN_SHADOW = asl.equals("$.plan.phase", workflow.SHADOW_PHASE, "")
# Longest wait for an endpoint that moves to something else: a canary's whole life, aborted in the middle.
_BUSY_S = 7_200
# Longest wait for a guardrail alarm that rings before an update, when it would send the update back at once. An
# aborted canary rings for a minute; what the champion does to its users for an hour is for people to mend first.
# Far below the lease's 25 hours, and the weekly run still ends before its own deadline.
_RINGING_S = 3_600


def release_states(*, slug: str, encrypts_volume: bool) -> dict[str, asl.State]:
    config = {"EndpointConfigName.$": "$.plan.endpoint_config.EndpointConfigName",
              "ProductionVariants.$": "$.plan.endpoint_config.ProductionVariants"}
    if encrypts_volume:
        config["KmsKeyId.$"] = "$.plan.endpoint_config.KmsKeyId"
    return {
        "NoEvidenceYet": asl.put({"verdict": "no_evidence", "said": "no canary was judged", "state": {}},
                                 at="$.canary", next_="NoShadowYet"),
        "NoShadowYet": asl.put({"verdict": "no_evidence", "said": "no shadow was judged", "state": {}},
                               at="$.shadow", next_="NoLookYet"),
        "NoLookYet": asl.put({"looks": 0, "over": False}, at="$.watch", next_="TokenGiven"),
        # A run that was in training when this machine was deployed began before runs passed their token on.
        "TokenGiven": asl.choose(asl.present("$.token", "PlanRelease"), default="WithoutToken"),
        "WithoutToken": asl.put(None, at="$.token", next_="PlanRelease"),
        "PlanRelease": asl.function(
            "ReleasePlan", {"story.$": "$.story", "token.$": "$.token", "version.$": "$.version", "undo.$": "$.undo",
                            "heed_switches.$": "$.heed_switches", "shadowed.$": "$.watch.over"},
            result="$.plan",
            next_="ChooseAction",
            fields=("action", "phase", "version", "endpoint_name", "model_name", "endpoint_config_name", "model",
                    "endpoint_config", "deployment_config", "shadow"),
            retry=asl.retries(patient={"EndpointBusy": _BUSY_S, "GuardrailRings": _RINGING_S}),
            on_error=[asl.catch("WasItCurrent", "NeverPromoted"), asl.catch("ReadWhatRings", "GuardrailRings"),
                      asl.catch("ReadWhoLeases", "LeaseLost"), asl.catch("ReleaseFailed")]),
        # The planner's sentence, which names the alarm; the retrain machine hands it to on-call.
        "ReadWhatRings": asl.put({"said.$": "States.StringToJson($.error.Cause)"}, at="$.error",
                                 next_="GuardrailRings"),
        "GuardrailRings": asl.fail_saying("GuardrailRings", "$.error.said.errorMessage"),
        "ReadWhoLeases": asl.put({"said.$": "States.StringToJson($.error.Cause)"}, at="$.error", next_="LeaseLost"),
        "LeaseLost": asl.fail_saying("LeaseLost", "$.error.said.errorMessage"),
        # Nothing was ever promoted: bringing back what serves is then a no-op, anything else a mistake. When the
        # very first release is undone, what it had put up was never promoted and must not go on serving.
        "WasItCurrent": asl.choose(
            asl.equals("$.undo", True, "FindUnpromoted"), asl.equals("$.version", "current", "NothingToRelease"),
            default="ReleaseFailed"),
        "FindUnpromoted": asl.call("sagemaker", "describeEndpoint", {"EndpointName": naming.endpoint(slug)},
                                   next_="DeleteUnpromoted", on_error="IsItAbsent", result=None),
        # SageMaker has no error name for "not found". Whatever else it says, something may go on serving: on-call's.
        "IsItAbsent": asl.choose(
            asl.both(asl.present("$.error.Cause", ""), asl.matches("$.error.Cause", "*Could not find*", ""),
                     "NothingToRelease"), default="ReleaseFailed"),
        # Tried again after a lost answer, it is told that there is nothing to delete.
        "DeleteUnpromoted": asl.call("sagemaker", "deleteEndpoint", {"EndpointName": naming.endpoint(slug)},
                                     next_="NothingToRelease", on_error="IsItAbsent", result=None),
        "ChooseAction": asl.choose(
            asl.equals("$.plan.action", "none", "CheckRelease"),
            asl.equals("$.heed_switches", True, "ReadSwitchesFirst"), default="FindModel"),
        # The planner may have waited for hours, for an alarm that rang: just when somebody freezes.
        "ReadSwitchesFirst": _read_switches(next_="MayBegin", on_error="SwitchedOff"),
        "MayBegin": asl.choose(asl.equals("$.switches.may_release", True, "FindModel"), default="SwitchedOff"),
        "SwitchedOff": asl.fail("SwitchedOff", "A kill switch went off, or could not be read, before the candidate"
                                " answered anybody."),
        **_creation(config),
        "WaitRelease": asl.wait(workflow.RELEASE_POLL_S, next_="CheckRelease"),
        "CheckRelease": asl.function(
            "ReleaseCheck", {"story.$": "$.story", "version.$": "$.plan.version",
                             "endpoint_config_name.$": "$.plan.endpoint_config_name"},
            result="$.check", fields=("state", "reason"), next_="ReleaseState", on_error="ReleaseFailed"),
        "ReleaseState": asl.choose(
            asl.both(asl.equals("$.check.state", "serving", ""), asl.equals("$.canary.verdict", "worse", ""),
                     "CanaryWorse"),  # the abort came too late: whoever asked for this release brings back what served
            asl.both(asl.equals("$.check.state", "serving", ""), _IN_SHADOW, "ReadSwitchesInShadow"),
            asl.equals("$.check.state", "serving", "Released"),
            asl.both(asl.equals("$.check.state", "updating", ""), asl.equals("$.check.reason", "RollingBack", ""),
                     "WaitRelease"),
            asl.both(asl.equals("$.check.state", "updating", ""), asl.equals("$.heed_switches", True, ""),
                     "ReadSwitches"),
            asl.equals("$.check.state", "updating", "WaitRelease"),
            default="WhyRolledBack"),
        "ReadSwitches": _read_switches(next_="MayGoOn", on_error="AbortCanary"),
        "MayGoOn": asl.choose(
            asl.both(asl.equals("$.switches.may_release", True, ""), asl.equals("$.canary.verdict", "worse", ""),
                     "AbortCanary"),  # once is enough: later answers don't take it back
            asl.both(asl.equals("$.switches.may_release", True, ""), _IN_SHADOW, "WaitRelease"),  # it only starts yet
            asl.equals("$.switches.may_release", True, "JudgeCanary"), default="AbortCanary"),
        # A judge that can't look is no reason to abort: the guardrail alarms watch on, and the end tells what was seen.
        "JudgeCanary": asl.function(
            "CanaryJudge", {"story.$": "$.story", "version.$": "$.plan.version", "state.$": "$.canary.state"},
            result="$.canary", fields=("verdict", "said", "state"), next_="IsItWorse",
            on_error=[asl.catch("WaitRelease", result="$.judge_error")]),
        "IsItWorse": asl.choose(asl.equals("$.canary.verdict", "worse", "AbortCanary"), default="WaitRelease"),
        "AbortCanary": asl.call("cloudwatch", "putMetricData", _abort(slug), next_="WaitRelease",
                                on_error="WaitRelease", result=None),
        "WhyRolledBack": asl.choose(asl.equals("$.canary.verdict", "worse", "CanaryWorse"),
                                    default="ReleaseRolledBack"),
        "CanaryWorse": asl.fail_saying("CanaryWorse", "$.canary.said"),
        **_shadow(),
        "Released": asl.succeed(),
        "NothingToRelease": asl.succeed(),
        "ReleaseRolledBack": asl.fail("ReleaseRolledBack", "The endpoint does not serve the wanted version: a guardrail"
                                      " alarm, a kill switch or a failed start sent it back. See CheckRelease."),
        "ReleaseFailed": asl.fail("ReleaseFailed", "A step failed after its retries: see the last state's error."),
    }


def _shadow() -> dict[str, asl.State]:
    """The champion answers and the candidate gets copies: look at both until it is worse, or long enough."""
    return {
        "ReadSwitchesInShadow": _read_switches(next_="MayWatch", on_error="SwitchedOff"),
        "MayWatch": asl.choose(asl.equals("$.switches.may_release", True, "JudgeShadow"), default="SwitchedOff"),
        # As with the canary's: a judge that can't look ends nothing, and the end tells what was seen.
        "JudgeShadow": asl.function(
            "CanaryJudge", {"story.$": "$.story", "version.$": "$.version", "state.$": "$.shadow.state",
                            "shadow.$": "$.plan.shadow"},
            result="$.shadow", fields=("verdict", "said", "state"), next_="IsShadowWorse",
            on_error=[asl.catch("CountLook", result="$.judge_error")]),
        "IsShadowWorse": asl.choose(asl.equals("$.shadow.verdict", "worse", "ShadowWorse"), default="CountLook"),
        # Whoever asked for this release takes the shadow away with its undo.
        "ShadowWorse": asl.fail_saying("ShadowWorse", "$.shadow.said"),
        "CountLook": asl.put({"looks.$": "States.MathAdd($.watch.looks, 1)", "over": False}, at="$.watch",
                             next_="WatchedEnough"),
        "WatchedEnough": asl.choose(asl.reaches("$.watch.looks", "$.plan.shadow.looks", "ShadowIsOver"),
                                    default="WaitShadow"),
        "WaitShadow": asl.wait(workflow.SHADOW_POLL_S, next_="ReadSwitchesInShadow"),
        "ShadowIsOver": asl.put({"over": True}, at="$.watch", next_="PlanRelease"),
    }


def _read_switches(*, next_: str, on_error: str) -> asl.State:
    """Unreadable switches have safe defaults inside the function; one that can't even run leads to `on_error`."""
    return asl.function("KillSwitches", {"story.$": "$.story"}, result="$.switches", fields=("may_release",),
                        next_=next_, on_error=on_error)


def _creation(config: Mapping[str, str]) -> dict[str, asl.State]:
    """Look first, so that a roll-back, whose model and config are there, wastes no retries on creating them.

    A creation that fails is followed by a second look: its answer may have been lost.
    """
    # Isolation is said here, whatever the plan says: what can be read off the machine can be proved of it.
    model = {"EnableNetworkIsolation": True, **{f"{member}.$": f"$.plan.model.{member}" for member in (
        "ModelName", "ExecutionRoleArn", "VpcConfig", "PrimaryContainer")}}
    endpoint = {"EndpointName.$": "$.plan.endpoint_name", "EndpointConfigName.$": "$.plan.endpoint_config_name"}
    named = {"ModelName.$": "$.plan.model_name"}
    config_named = {"EndpointConfigName.$": "$.plan.endpoint_config_name"}

    def look(action: str, name: Mapping[str, str], *, next_: str, absent: str) -> asl.State:
        """"Not found" comes by the same name as a throttle: taken for absent at once, for creating settles it."""
        return asl.call("sagemaker", action, name, next_=next_, on_error=absent, result=None,
                        retry=asl.retries(permanent=("SageMaker.SageMakerException",)))

    def look_again(action: str, name: Mapping[str, str], *, next_: str) -> asl.State:
        """Nothing comes after it that would settle it, so it is tried as often as any other call."""
        return asl.call("sagemaker", action, name, next_=next_, on_error="ReleaseFailed", result=None)

    return {
        "FindModel": look("describeModel", named, next_="FindEndpointConfig", absent="CreateModel"),
        "CreateModel": asl.call("sagemaker", "createModel", model, next_="FindEndpointConfig",
                                on_error="ConfirmModel", result=None),
        "ConfirmModel": look_again("describeModel", named, next_="FindEndpointConfig"),
        "FindEndpointConfig": look("describeEndpointConfig", config_named, next_="CreateOrUpdate",
                                   absent="WhichConfig"),
        # SageMaker takes no empty list of shadows.
        "WhichConfig": asl.choose({**_IN_SHADOW, "Next": "CreateShadowConfig"}, default="CreateEndpointConfig"),
        "CreateShadowConfig": asl.call(
            "sagemaker", "createEndpointConfig",
            {**config, "ShadowProductionVariants.$": "$.plan.endpoint_config.ShadowProductionVariants"},
            next_="CreateOrUpdate", on_error="ConfirmEndpointConfig", result=None),
        "CreateEndpointConfig": asl.call("sagemaker", "createEndpointConfig", config, next_="CreateOrUpdate",
                                         on_error="ConfirmEndpointConfig", result=None),
        "ConfirmEndpointConfig": look_again("describeEndpointConfig", config_named, next_="CreateOrUpdate"),
        "CreateOrUpdate": asl.choose(asl.equals("$.plan.action", "create", "CreateEndpoint"),
                                     default="UpdateEndpoint"),
        "CreateEndpoint": asl.call("sagemaker", "createEndpoint", endpoint, next_="WaitRelease",
                                   on_error="CheckRelease", result=None),
        "UpdateEndpoint": asl.call(
            "sagemaker", "updateEndpoint",
            # The fleet keeps the size that autoscaling gave it.
            {**endpoint, "RetainAllVariantProperties": True, "DeploymentConfig.$": "$.plan.deployment_config"},
            next_="WaitRelease", on_error="CheckRelease", result=None),
    }


def _abort(slug: str) -> dict[str, object]:
    """One data point of the metric whose alarm rolls a deployment back."""
    dimensions = metrics.dimensions(metrics.CANARY_ABORT, story=slug)
    return {"Namespace": metrics.NAMESPACE, "MetricData": [{
        "MetricName": metrics.CANARY_ABORT, "Value": 1,
        "Dimensions": [{"Name": name, "Value": value} for name, value in dimensions.items()]}]}


class EndpointRelease(Construct):
    """`machine` is what the retrain machine starts as its child."""

    def __init__(self, scope: Construct, id_: str, *, story: StoryContract, functions: Mapping[str, str],
                 serving_role_arn: str, key: kms.IKey) -> None:
        """`functions`: substitution name -> ARN, for ReleasePlan, ReleaseCheck, CanaryJudge and KillSwitches."""
        super().__init__(scope, id_)
        slug = story.slug
        names = {kind: arn("sagemaker", f"{kind}/{naming.endpoint(slug)}-v*")
                 for kind in ("model", "endpoint-config")}
        endpoint = arn("sagemaker", f"endpoint/{naming.endpoint(slug)}")
        encrypts_volume = takes_volume_key(story.serving.instance_type)
        self.machine = StateMachine(
            self, "Machine", name=naming.release_state_machine(slug), start="NoEvidenceYet", key=key,
            comment=f"{story.entry.code}: make one version of {slug} what its endpoint serves",
            states=release_states(slug=slug, encrypts_volume=encrypts_volume),
            substitutions=functions,
            statements=[
                allow("lambda:InvokeFunction", on=list(functions.values())),
                allow("sagemaker:CreateModel", "sagemaker:DescribeModel", on=names["model"]),
                allow("sagemaker:CreateEndpointConfig", "sagemaker:DescribeEndpointConfig",
                      on=names["endpoint-config"]),
                allow("sagemaker:CreateEndpoint", "sagemaker:UpdateEndpoint",
                      on=[endpoint, names["endpoint-config"]]),
                allow("sagemaker:DescribeEndpoint", "sagemaker:DeleteEndpoint", on=endpoint),
                pass_role([serving_role_arn], to="sagemaker.amazonaws.com"),
                read_guardrails(slug),  # SageMaker reads them for whoever asks for the update
                *([hand_key_to_aws(arn_of(key))] if encrypts_volume else []),
                put_metrics(metrics.NAMESPACE),
            ],
        )

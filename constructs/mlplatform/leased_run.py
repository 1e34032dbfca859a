"""What every machine that may move an endpoint has in common: lease, switches, release, promotion, ends, failure.

The retrain machine and the receive machine are made of these. Their data are the same: `$.story`, `$.run_id`,
`$.execution`, `$.input`, `$.lease`, `$.published` and, once an endpoint may have moved, `$.serving_touched`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from contracts import events, naming
from mlplatform import asl
from mlplatform.approval import ASK, approval_states
from mlplatform.asl import State
from mlplatform.policies import Statement, allow, arn

States = dict[str, State]
SERVING_TOUCHED = "ServingTouched"  # where a failure begins to be mended

UNDO = {"version": "current", "heed_switches": False, "undo": True}  # back to what the pointer names
_SWITCHES = ("mode", "may_retrain", "may_release", "may_promote", "reasons")
_GIVE_BACK = {"action": "give_back", "story.$": "$.story", "holder.$": "$.execution"}


def take_lease(*, next_: str, on_error: str, preempt: bool = False) -> State:
    lease = {"story.$": "$.story", "holder.$": "$.execution", "action": "take", "preempt": preempt}
    return asl.function("Lease", lease, result="$.lease", fields=("leased", "token", "holder"), next_=next_,
                        on_error=on_error)


def read_switches(next_: str, *, on_error: str) -> State:
    return asl.function("KillSwitches", {"story.$": "$.story"}, result="$.switches", fields=_SWITCHES, next_=next_,
                        on_error=on_error)


def child_name(suffix: str) -> str:
    """After the execution, not the run: one that goes on with a run must not find its child's name taken."""
    return f"States.Format('{{}}{suffix}', $$.Execution.Name)" if suffix else "$$.Execution.Name"


def release_child(suffix: str, arguments: Mapping[str, Any], *, next_: str, on_error: str, result: str | None) -> State:
    select = {"version.$": "$.Output.plan.version", "canary.$": "$.Output.canary.said",
              "shadow.$": "$.Output.shadow.said"} if result else None
    given = {"story.$": "$.story", "token.$": "$.lease.token", **arguments}
    return asl.child("ReleaseMachine", child_name(suffix), given, next_=next_, on_error=on_error, result=result,
                     select=select)


def promotion(kind: str, what: Mapping[str, Any]) -> dict[str, Any]:
    return {"story.$": "$.story", "run_id.$": "$.run_id", "token.$": "$.lease.token", "kind": kind, **what}


def release_and_promote(*, slug: str, approval_within_s: int | None, brings: Mapping[str, str], next_: str,
                        on_error: str) -> States:
    """From `ReadSwitchesBeforeRelease` on: `$.published` becomes what serves and what the pointer names.

    `brings`: what else the pointer keeps of the version. Ends at `next_`, `AsNotPromoted`, `AsShadowWorse`,
    `AsCanaryAborted` or, when a person is asked, `AsNotApproved`; or fails to `on_error`.
    """
    return {
        "ReadSwitchesBeforeRelease": read_switches("MayRelease", on_error=on_error),
        "MayRelease": asl.choose(
            asl.equals("$.switches.may_release", True, "MarkRelease" if approval_within_s is None else ASK),
            default="AsNotPromoted"),
        **(approval_states(slug=slug, within_s=approval_within_s, next_="MarkRelease", on_error=on_error)
           if approval_within_s is not None else {}),
        # From here on a failure must bring back what the pointer names.
        "MarkRelease": asl.put(True, at="$.serving_touched", next_="Release"),
        "Release": release_child(
            "", {"version.$": "$.published.version", "heed_switches": True, "undo": False},
            next_="ReadSwitchesBeforePromote", on_error="ReadSwitchesAfterRelease", result="$.release"),
        # A release that a kill switch ended is no failure: say which it was.
        "ReadSwitchesAfterRelease": read_switches("WasItSwitchedOff", on_error=on_error),
        "WasItSwitchedOff": asl.choose(
            asl.equals("$.switches.may_release", False, "UndoRelease"),
            *(asl.both(asl.present("$.error.Cause", ""), asl.matches("$.error.Cause", f'*"{error}"*', ""),
                       "ReadVerdict") for error in ("ShadowWorse", "CanaryWorse")), default=on_error),
        **_worse_candidate(on_error=on_error),
        "ReadSwitchesBeforePromote": read_switches("MayPromote", on_error=on_error),
        "MayPromote": asl.choose(asl.equals("$.switches.may_promote", True, "Promote"), default="UndoRelease"),
        "UndoRelease": release_child("-undo", UNDO, next_="AsNotPromoted",
                                     on_error=on_error, result=None),
        "Promote": asl.function("Promote", promotion("promote", {
            "version.$": "$.published.version", "manifest_sha256.$": "$.published.manifest_sha256",
            "model_uri.$": "$.published.model_uri", "model_package_arn.$": "$.published.model_package_arn", **brings,
        }), result="$.promoted", fields=("promoted", "version"), next_=next_,
            on_error=[asl.catch("RegistryNotTold", "RegistryNotTold"), asl.catch(on_error)]),
        **registry_not_told("", next_=next_),
    }


def registry_not_told(of: str, *, next_: str) -> States:
    """The pointer has moved: a run that then fails would be started again, and a second roll-back goes further back.

    So it goes on, and on-call brings the registry's approvals up to date.
    """
    return {
        f"RegistryNotTold{of}": asl.put({"promoted": True, "version.$": "$.release.version"}, at="$.promoted",
                                        next_=f"NotifyRegistryNotTold{of}"),
        f"NotifyRegistryNotTold{of}": asl.notify(
            "Registry not told", "States.Format('{}: run {} moved the pointer to version {}, but the model registry "
            "could not be told: approve that version there and, after a roll-back, reject the one that was left. "
            "Execution: {}', $.story, $.run_id, $.release.version, $.execution)", next_=next_),
    }


def _worse_candidate(*, on_error: str) -> States:
    """The candidate was worse on live requests: nobody releases it again, and on-call hears the numbers."""
    return {
        "ReadVerdict": asl.put({"release.$": "States.StringToJson($.error.Cause)"}, at="$.error", next_="KeepVerdict"),
        "KeepVerdict": asl.put({"error.$": "$.error.release.Error", "said.$": "$.error.release.Cause"},
                               at="$.worse", next_="RejectVersion"),
        # A receiving region looks every hour for a version that is not rejected here.
        "RejectVersion": asl.call(
            "sagemaker", "updateModelPackage",
            {"ModelPackageArn.$": "$.published.model_package_arn", "ModelApprovalStatus": "Rejected",
             "ApprovalDescription.$": "States.Format('{} in run {}: {}', $.worse.error, $.run_id, $.worse.said)"},
            next_="ConfirmChampion", on_error=on_error, result=None),
        # From a canary SageMaker has gone back by itself. This takes the shadow away and asks the endpoint whether the
        # champion really answers.
        "ConfirmChampion": release_child("-undo", UNDO, next_="NotifyWorse", on_error=on_error, result=None),
        "NotifyWorse": asl.notify(
            "Candidate worse than what serves", "States.Format('{}: the release of run {} ended as {}: {}. What was "
            "promoted serves. Execution: {}', $.story, $.run_id, $.worse.error, $.worse.said, $.execution)",
            next_="WhereWorse"),
        "WhereWorse": asl.choose(asl.equals("$.worse.error", "ShadowWorse", f"As{events.SHADOW_WORSE}"),
                                 default=f"As{events.CANARY_ABORTED}"),
    }


def reject_version(slug: str) -> Statement:
    return allow("sagemaker:UpdateModelPackage",
                 on=arn("sagemaker", f"model-package/{naming.model_package_group(slug)}/*"))


CANARY_SAID, SHADOW_SAID = {"canary.$": "$.worse.said"}, {"shadow.$": "$.worse.said"}
RELEASE_SAID = {"shadow.$": "$.release.shadow", "canary.$": "$.release.canary"}


def ends_of(outcomes: Sequence[str], *, approval_within_s: int | None) -> tuple[str, ...]:
    asked = () if approval_within_s is None else (events.NOT_APPROVED,)
    return (*(outcome for outcome in outcomes if outcome != events.FAILED), *asked)


def endings(ends: Sequence[str], details: Mapping[str, Mapping[str, str]]) -> States:
    """`As{end}` for each end: recorded, the lease given back, and then the end of that name."""
    states: States = {}
    details = {events.NOT_APPROVED: {"approval.$": "$.approval"}, **details}
    for end in ends:
        states[f"As{end}"] = {"Type": "Pass", "Parameters": {"outcome": end, "detail": dict(details.get(end, {}))},
                              "ResultPath": "$.end", "Next": "RecordOutcome"}
        states[end] = asl.succeed()
    return {
        **states,
        "RecordOutcome": asl.function(
            "Audit", {"story.$": "$.story", "run_id.$": "$.run_id", "outcome.$": "$.end.outcome",
                      "detail": {"input.$": "$.input", "end.$": "$.end.detail", "execution.$": "$.execution"}},
            next_="GiveLeaseBack", on_error="NotifyFailure", result=None),
        # Giving back what another run holds does nothing; a lease that stays is taken when it expires.
        "GiveLeaseBack": asl.function("Lease", _GIVE_BACK, next_="End", on_error="End", result=None),
        "End": asl.choose(*(asl.equals("$.end.outcome", end, end) for end in ends), default="Failed"),
    }


def failure(*, subject: str, message: str, end: State) -> States:
    """From SERVING_TOUCHED on: what the pointer names serves again, then audit, page, lease, and `end`."""
    return {
        SERVING_TOUCHED: asl.choose(asl.present("$.serving_touched", "RollBackServing"), default="AuditFailure"),
        "RollBackServing": asl.child(
            "ReleaseMachine", child_name("-back"),
            {"story.$": "$.story", "token.$": "$.lease.token", **UNDO}, next_="WhyNoRelease",
            on_error=[asl.catch("WhyNoRelease", result="$.roll_back_error")], result=None),
        # A child's failure is States.TaskFailed, whatever it was. On-call should not have to look up which alarm
        # kept a release waiting until its patience ended, or which run took the lease.
        "WhyNoRelease": asl.choose(
            *(asl.both(asl.present("$.error.Cause", ""), asl.matches("$.error.Cause", f'*"{error}"*', ""),
                       "ReadRelease") for error in ("GuardrailRings", "LeaseLost")), default="AuditFailure"),
        "ReadRelease": asl.put({"release.$": "States.StringToJson($.error.Cause)"}, at="$.error",
                               next_="NameReleaseError"),
        "NameReleaseError": asl.put(
            {"Error.$": "States.Format('{}: {}', $.error.release.Error, $.error.release.Cause)"}, at="$.error",
            next_="AuditFailure"),
        "AuditFailure": asl.function(
            "Audit", {"story.$": "$.story", "run_id.$": "$.run_id", "outcome": events.FAILED,
                      "detail": {"input.$": "$.input", "error.$": "$.error.Error", "execution.$": "$.execution"}},
            next_="NotifyFailure", on_error=[asl.catch("NotifyFailure", result="$.audit_error")], result=None),
        "NotifyFailure": asl.notify(subject, message, next_="GiveLeaseBackAfterFailure"),
        "GiveLeaseBackAfterFailure": asl.function("Lease", _GIVE_BACK, next_=events.FAILED, on_error=events.FAILED,
                                                  result=None),
        events.FAILED: end,
    }

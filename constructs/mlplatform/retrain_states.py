"""The states of the retrain machine, the same for every story: modes retrain, reconcile and rollback.

Skips and rejections are ends of their own, visible by name in the console, never a failure. Every
end passes RecordOutcome and GiveLeaseBack. Whatever fails stops the pipeline, brings back what
the pointer names, audits, pages and gives the lease back.
"""

from __future__ import annotations

from typing import Any

from contracts import events, workflow
from mlplatform import asl
from mlplatform.asl import State
from mlplatform.label_platform import start

States = dict[str, State]
FAILURE = "StopPipelineIfRunning"  # where every Catch leads

_SWITCHES = ("mode", "may_retrain", "may_release", "may_promote", "reasons")
_UNDO = {"version": "current", "heed_switches": False, "undo": True}  # back to what the pointer names
_ENDS = tuple(outcome for outcome in events.OUTCOMES if outcome != events.FAILED)


def retrain_states(*, slug: str, home: bool, freeze_request: dict[str, Any]) -> States:
    return {
        **_entry(slug, home=home), **_labels(freeze_request), **_training(), **_judgement(), **_release(),
        **_rollback(), **_reconcile(), **_endings(), **_failure(),
    }


def _entry(slug: str, *, home: bool) -> States:
    retrain = "TakeLease" if home else "NotHome"
    lease = {"story.$": "$.story", "holder.$": "$.execution", "action": "take"}
    fields = ("leased", "token", "holder")
    return {
        "Defaults": asl.put({"mode": "retrain", "trigger": "manual", "reason": "", "hyperparameters": {}},
                            at="$.defaults", next_="ReadInput"),
        "ReadInput": asl.put(
            {"story": slug, "run_id.$": "$$.Execution.Name", "execution.$": "$$.Execution.Id",
             "input.$": "States.JsonMerge($.defaults, $$.Execution.Input, false)"}, at="$", next_="ChooseMode"),
        "ChooseMode": asl.choose(
            asl.equals("$.input.mode", "retrain", retrain), asl.equals("$.input.mode", "reconcile", "TakeLease"),
            asl.equals("$.input.mode", "rollback", "TakeLeaseNow"), default="UnknownMode"),
        "UnknownMode": asl.fail("UnknownMode", f"mode must be one of {', '.join(events.MODES)}"),
        **({} if home else {"NotHome": asl.fail(
            "NotHome", "Only the home deployment trains; this one receives signed copies and can reconcile or "
                       "roll back")}),
        "TakeLease": asl.function("Lease", {**lease, "preempt": False}, result="$.lease", fields=fields,
                                  next_="Leased", on_error=FAILURE),
        "Leased": asl.choose(asl.equals("$.lease.leased", True, "ReadSwitches"), default="AsSkippedLeased"),
        # A roll-back pre-empts: whoever held the lease can no longer write the pointer.
        "TakeLeaseNow": asl.function("Lease", {**lease, "preempt": True}, result="$.lease", fields=fields,
                                     next_="RollBackToPrevious", on_error=FAILURE),
        "ReadSwitches": _switches("MayRun"),
        "MayRun": asl.choose(
            asl.equals("$.switches.mode", "frozen", "AsSkippedFrozen"),
            asl.equals("$.input.mode", "reconcile", "MarkReconcile"),
            asl.equals("$.switches.may_retrain", True, "PlanRun"), default="AsSkippedFrozen"),
    }


def _switches(next_: str) -> State:
    return asl.function("KillSwitches", {"story.$": "$.story"}, result="$.switches", fields=_SWITCHES, next_=next_,
                        on_error=FAILURE)


def _labels(freeze_request: dict[str, Any]) -> States:
    return {
        "PlanRun": asl.function(
            "RunPlan", {"story.$": "$.story", "run_id.$": "$.run_id", "mode.$": "$.input.mode",
                        "hyperparameters.$": "$.input.hyperparameters"}, result="$.plan",
            fields=("champion_version", "champion_uri", "label_version_above", "dataset_uri", "output_uri", "model_uri",
                    "evaluation_uri", "client_token", "freeze_job_name", "pipeline_parameters"),
            next_="StartFreeze", on_error=FAILURE),
        "StartFreeze": start(freeze_request, next_="WaitFreeze"),
        "WaitFreeze": asl.wait(workflow.FREEZE_POLL_S, next_="DescribeFreeze"),
        "DescribeFreeze": asl.call(
            "sagemaker", "describeProcessingJob", {"ProcessingJobName.$": "$.plan.freeze_job_name"},
            next_="FreezeJobStatus", on_error=FAILURE, result="$.freeze"),
        "FreezeJobStatus": asl.choose(
            asl.equals("$.freeze.ProcessingJobStatus", "Completed", "ReadFreeze"),
            asl.equals("$.freeze.ProcessingJobStatus", "InProgress", "WaitFreeze"), default="FreezeFailed"),
        "FreezeFailed": asl.put({"Error": "FreezeJobFailed"}, at="$.error", next_=FAILURE),
        "ReadFreeze": asl.put({"answer.$": "States.StringToJson($.freeze.ExitMessage)"}, at="$.freeze",
                              next_="FreezeStatus"),
        "FreezeStatus": asl.choose(
            asl.equals("$.freeze.answer.status", "frozen", "StartPipeline"),
            asl.both(asl.equals("$.freeze.answer.status", "no_new_labels", ""),
                     asl.equals("$.input.trigger", "weekly", ""), "AsSkippedNoNewLabels"),
            # An operator or the drift monitor asked: a new seed or other hyperparameters may be the point.
            asl.equals("$.freeze.answer.status", "no_new_labels", "StartPipeline"),
            asl.equals("$.freeze.answer.status", "low_kappa", "AsRejectedLabels"),
            asl.equals("$.freeze.answer.status", "too_few_rows", "AsRejectedLabels"), default="FreezeFailed"),
    }


def _training() -> States:
    return {
        "StartPipeline": asl.call(
            "sagemaker", "startPipelineExecution",
            {"PipelineName": "${Pipeline}", "ClientRequestToken.$": "$.plan.client_token",
             "PipelineParameters.$": "$.plan.pipeline_parameters"},
            next_="WaitPipeline", on_error=FAILURE, result="$.pipeline", select={"arn.$": "$.PipelineExecutionArn"}),
        "WaitPipeline": asl.wait(workflow.PIPELINE_POLL_S, next_="DescribePipeline"),
        "DescribePipeline": asl.call(
            "sagemaker", "describePipelineExecution", {"PipelineExecutionArn.$": "$.pipeline.arn"},
            next_="PipelineStatus", on_error=FAILURE, result="$.pipeline.now",
            select={"status.$": "$.PipelineExecutionStatus"}),
        "PipelineStatus": asl.choose(
            asl.equals("$.pipeline.now.status", "Succeeded", "JudgeCandidate"),
            asl.equals("$.pipeline.now.status", "Executing", "WaitPipeline"),
            asl.equals("$.pipeline.now.status", "Stopping", "WaitPipeline"), default="PipelineFailed"),
        "PipelineFailed": asl.put({"Error": "PipelineFailed"}, at="$.error", next_=FAILURE),
    }


def _judgement() -> States:
    return {
        "JudgeCandidate": asl.function(
            "Judge", {"story.$": "$.story", "evaluation_uri.$": "$.plan.evaluation_uri",
                      "champion_version.$": "$.plan.champion_version"}, result="$.verdict",
            fields=("passed", "failed", "reasons", "gates", "verdict_uri"), next_="Passed", on_error=FAILURE),
        "Passed": asl.choose(asl.equals("$.verdict.passed", True, "ReadSwitchesBeforePublish"),
                             default="AsRejected"),
        "ReadSwitchesBeforePublish": _switches("MayPublish"),
        "MayPublish": asl.choose(asl.equals("$.switches.may_promote", True, "PublishSignedCopy"),
                                 default="AsNotPromoted"),
        "PublishSignedCopy": asl.function(
            "Publish", {"story.$": "$.story", "run_id.$": "$.run_id", "model_uri.$": "$.plan.model_uri",
                        "evaluation_uri.$": "$.plan.evaluation_uri", "verdict_uri.$": "$.verdict.verdict_uri"},
            result="$.published", fields=("version", "model_uri", "manifest_sha256", "model_package_arn"),
            next_="ReadSwitchesBeforeRelease", on_error=FAILURE),
    }


def _release() -> States:
    return {
        "ReadSwitchesBeforeRelease": _switches("MayRelease"),
        "MayRelease": asl.choose(asl.equals("$.switches.may_release", True, "MarkRelease"), default="AsNotPromoted"),
        # From here on a failure must bring back what the pointer names.
        "MarkRelease": asl.put(True, at="$.serving_touched", next_="Release"),
        "Release": _child("$.run_id", {"version.$": "$.published.version", "heed_switches": True, "undo": False},
                          next_="ReadSwitchesBeforePromote", on_error="ReadSwitchesAfterRelease", result="$.release"),
        # A release that a kill switch ended is no failure: say which it was.
        "ReadSwitchesAfterRelease": _switches("WasItSwitchedOff"),
        "WasItSwitchedOff": asl.choose(asl.equals("$.switches.may_release", True, FAILURE), default="UndoRelease"),
        "ReadSwitchesBeforePromote": _switches("MayPromote"),
        "MayPromote": asl.choose(asl.equals("$.switches.may_promote", True, "Promote"), default="UndoRelease"),
        "UndoRelease": _child("States.Format('{}-undo', $.run_id)", _UNDO, next_="AsNotPromoted", on_error=FAILURE,
                              result=None),
        "Promote": asl.function("Promote", _promotion("promote", {
            "version.$": "$.published.version", "manifest_sha256.$": "$.published.manifest_sha256",
            "model_uri.$": "$.published.model_uri", "model_package_arn.$": "$.published.model_package_arn",
            "label_version_to.$": "$.freeze.answer.label_version_to", "verdict_uri.$": "$.verdict.verdict_uri",
        }), result="$.promoted", fields=("promoted", "version"), next_="AsPromoted", on_error=FAILURE),
    }


def _promotion(kind: str, what: dict[str, Any]) -> dict[str, Any]:
    return {"story.$": "$.story", "run_id.$": "$.run_id", "token.$": "$.lease.token", "kind": kind, **what}


def _child(name: str, arguments: dict[str, Any], *, next_: str, on_error: str, result: str | None) -> State:
    select = {"version.$": "$.Output.plan.version"} if result else None
    given = {"story.$": "$.story", "token.$": "$.lease.token", **arguments}
    return asl.child("ReleaseMachine", name, given, next_=next_, on_error=on_error,
                     result=result, select=select)


def _rollback() -> States:
    """No kill switch is read: going back is how an incident commander gets out of a freeze."""
    return {
        "RollBackToPrevious": _child("$.run_id", {"version": "previous", "heed_switches": False, "undo": False},
                                     next_="PromotePrevious", on_error="MarkRollBackFailed", result="$.release"),
        "MarkRollBackFailed": asl.put(True, at="$.serving_touched", next_=FAILURE),
        "PromotePrevious": asl.function("Promote", _promotion("rollback", {"version.$": "$.release.version"}),
                                        result="$.promoted", fields=("promoted", "version"), next_="AsRolledBack",
                                        on_error="MarkRollBackFailed"),
    }


def _reconcile() -> States:
    return {
        "MarkReconcile": asl.put(True, at="$.serving_touched", next_="Reconcile"),
        "Reconcile": _child("$.run_id", {**_UNDO, "undo": False}, next_="AsReconciled", on_error=FAILURE, result=None),
    }


def _endings() -> States:
    details: dict[str, dict[str, str]] = {
        events.PROMOTED: {"version.$": "$.promoted.version", "verdict_uri.$": "$.verdict.verdict_uri"},
        events.ROLLED_BACK: {"version.$": "$.promoted.version"},
        events.REJECTED: {"failed.$": "$.verdict.failed", "reasons.$": "$.verdict.reasons",
                          "verdict_uri.$": "$.verdict.verdict_uri"},
        events.NOT_PROMOTED: {"reasons.$": "$.switches.reasons", "verdict_uri.$": "$.verdict.verdict_uri"},
        events.SKIPPED_FROZEN: {"reasons.$": "$.switches.reasons"},
        events.SKIPPED_LEASED: {"holder.$": "$.lease.holder"},
        events.REJECTED_LABELS: {"labels.$": "$.freeze.answer"},
    }
    states: States = {}
    for end in _ENDS:
        states[f"As{end}"] = {"Type": "Pass", "Parameters": {"outcome": end, "detail": details.get(end, {})},
                              "ResultPath": "$.end", "Next": "RecordOutcome"}
        states[end] = asl.succeed()
    give_back = {"action": "give_back", "story.$": "$.story", "holder.$": "$.execution"}
    return {
        **states,
        "RecordOutcome": asl.function(
            "Audit", {"story.$": "$.story", "run_id.$": "$.run_id", "outcome.$": "$.end.outcome",
                      "detail": {"input.$": "$.input", "end.$": "$.end.detail", "execution.$": "$.execution"}},
            next_="GiveLeaseBack", on_error="NotifyFailure", result=None),
        # Giving back what another run holds does nothing; a lease that stays is taken when it expires.
        "GiveLeaseBack": asl.function("Lease", give_back, next_="End", on_error="End", result=None),
        "End": asl.choose(*(asl.equals("$.end.outcome", end, end) for end in _ENDS), default="Failed"),
    }


def _failure() -> States:
    give_back = {"action": "give_back", "story.$": "$.story", "holder.$": "$.execution"}
    return {
        FAILURE: asl.choose(asl.present("$.pipeline.arn", "StopPipeline"), default="ServingTouched"),
        # One that has ended can't be stopped: that error leads on, too.
        "StopPipeline": asl.call(
            "sagemaker", "stopPipelineExecution",
            {"PipelineExecutionArn.$": "$.pipeline.arn", "ClientRequestToken.$": "$.plan.client_token"},
            next_="ServingTouched", on_error=[asl.catch("ServingTouched", result="$.stop_error")], result=None,
            retry=asl.retries(attempts=2, permanent=(*asl.PERMANENT_ERRORS, "SageMaker.SageMakerException"))),
        "ServingTouched": asl.choose(asl.present("$.serving_touched", "RollBackServing"), default="AuditFailure"),
        "RollBackServing": asl.child(
            "ReleaseMachine", "States.Format('{}-back', $.run_id)",
            {"story.$": "$.story", "token.$": "$.lease.token", **_UNDO}, next_="WhyNoRelease",
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
        "NotifyFailure": asl.notify(
            "Retrain failed", "States.Format('{}: run {} ({}) failed: {}. Execution: {}', $.story, $.run_id, "
            "$.input.mode, $.error.Error, $.execution)", next_="GiveLeaseBackAfterFailure"),
        "GiveLeaseBackAfterFailure": asl.function("Lease", give_back, next_="Failed", on_error="Failed", result=None),
        "Failed": asl.fail("RetrainFailed", "A step failed after its retries; what the pointer names serves. The "
                           "notification and the audit record name the error."),
    }

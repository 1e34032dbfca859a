"""The states of the retrain machine, the same for every story: modes retrain, reconcile and rollback.

Skips and rejections are ends of their own, visible by name in the console, never a failure. Every
end passes RecordOutcome and GiveLeaseBack. Whatever fails stops the pipeline, brings back what
the pointer names, audits, pages and gives the lease back.
"""

from __future__ import annotations

from typing import Any

from contracts import events, workflow
from mlplatform import asl, leased_run
from mlplatform.asl import State
from mlplatform.label_platform import start, waited_for
from mlplatform.leased_run import UNDO, States, promotion, release_child, take_lease

FAILURE = "StopPipelineIfRunning"  # where every Catch leads


def retrain_states(*, slug: str, home: bool, freeze_request: dict[str, Any],
                   approval_within_s: int | None = None) -> States:
    return {
        **_entry(slug, home=home), **_labels(freeze_request), **_training(), **_judgement(),
        **leased_run.release_and_promote(
            slug=slug, approval_within_s=approval_within_s,
            brings={"label_version_to.$": "$.freeze.answer.label_version_to", "verdict_uri.$": "$.verdict.verdict_uri"},
            next_="Announce" if home else "AsPromoted", on_error=FAILURE),
        **_rollback(home=home), **(_announcement() if home else {}), **_reconcile(),
        **_endings(approval_within_s), **_failure(),
    }


def _entry(slug: str, *, home: bool) -> States:
    retrain = "TakeLease" if home else "NotHome"
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
        "TakeLease": take_lease(next_="Leased", on_error=FAILURE),
        "Leased": asl.choose(asl.equals("$.lease.leased", True, "ReadSwitches"), default="AsSkippedLeased"),
        # A roll-back pre-empts: whoever held the lease can no longer write the pointer.
        "TakeLeaseNow": take_lease(next_="RollBackToPrevious", on_error=FAILURE, preempt=True),
        "ReadSwitches": _switches("MayRun"),
        "MayRun": asl.choose(
            asl.equals("$.switches.mode", "frozen", "AsSkippedFrozen"),
            asl.equals("$.input.mode", "reconcile", "MarkReconcile"),
            asl.equals("$.switches.may_retrain", True, "PlanRun"), default="AsSkippedFrozen"),
    }


def _switches(next_: str) -> State:
    return leased_run.read_switches(next_, on_error=FAILURE)


def _labels(freeze_request: dict[str, Any]) -> States:
    return {
        "PlanRun": asl.function(
            "RunPlan", {"story.$": "$.story", "run_id.$": "$.run_id", "mode.$": "$.input.mode",
                        "hyperparameters.$": "$.input.hyperparameters"}, result="$.plan",
            fields=("champion_version", "champion_uri", "label_version_above", "dataset_uri", "output_uri", "model_uri",
                    "evaluation_uri", "client_token", "freeze_job_name", "pipeline_parameters"),
            next_="StartFreeze", on_error=FAILURE),
        "StartFreeze": start(freeze_request, next_="WaitFreeze"),
        **waited_for("Freeze", "$.plan.freeze_job_name", result="$.freeze", next_="ReadFreeze", failed="FreezeFailed",
                     on_error=FAILURE, poll_s=workflow.FREEZE_POLL_S),
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
        # It has ended: there is nothing to stop.
        "PipelineFailed": asl.put({"Error": "PipelineFailed"}, at="$.error", next_=leased_run.SERVING_TOUCHED),
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


def _rollback(*, home: bool) -> States:
    """No kill switch is read: going back is how an incident commander gets out of a freeze."""
    next_ = "Announce" if home else "AsRolledBack"
    return {
        "RollBackToPrevious": release_child(
            "", {"version": "previous", "heed_switches": False, "undo": False}, next_="PromotePrevious",
            on_error="MarkRollBackFailed", result="$.release"),
        "MarkRollBackFailed": asl.put(True, at="$.serving_touched", next_=FAILURE),
        "PromotePrevious": asl.function(
            "Promote", promotion("rollback", {"version.$": "$.release.version"}), result="$.promoted",
            fields=("promoted", "version"), next_=next_,
            on_error=[asl.catch("RegistryNotToldOfPrevious", "RegistryNotTold"), asl.catch("MarkRollBackFailed")]),
        **leased_run.registry_not_told("OfPrevious", next_=next_),
    }


def _announcement() -> States:
    """Home only. The pointer has moved: that other regions don't hear of it yet is told to on-call, and no failure."""
    return {
        "Announce": asl.function("Announce", {"story.$": "$.story"}, result=None, next_="Announced",
                                 on_error=[asl.catch("NotifyNotAnnounced", result="$.announce_error")]),
        "NotifyNotAnnounced": asl.notify(
            "Promotion not announced", "States.Format('{}: run {} moved the pointer, but receiving regions were not "
            "told. The next promotion tells them. Execution: {}', $.story, $.run_id, $.execution)", next_="Announced"),
        "Announced": asl.choose(asl.equals("$.input.mode", "rollback", "AsRolledBack"), default="AsPromoted"),
    }


def _reconcile() -> States:
    return {
        "MarkReconcile": asl.put(True, at="$.serving_touched", next_="Reconcile"),
        "Reconcile": release_child("", {**UNDO, "undo": False}, next_="AsReconciled", on_error=FAILURE,
                                   result=None),
    }


def _endings(approval_within_s: int | None) -> States:
    ends = leased_run.ends_of(events.RETRAIN_OUTCOMES, approval_within_s=approval_within_s)
    worse = {"version.$": "$.published.version", "verdict_uri.$": "$.verdict.verdict_uri"}
    return leased_run.endings(ends, {
        events.PROMOTED: {"version.$": "$.promoted.version", "verdict_uri.$": "$.verdict.verdict_uri",
                          **leased_run.RELEASE_SAID},
        events.SHADOW_WORSE: {**leased_run.SHADOW_SAID, **worse},
        events.CANARY_ABORTED: {**leased_run.CANARY_SAID, **worse},
        events.ROLLED_BACK: {"version.$": "$.promoted.version"},
        events.REJECTED: {"failed.$": "$.verdict.failed", "reasons.$": "$.verdict.reasons",
                          "verdict_uri.$": "$.verdict.verdict_uri"},
        events.NOT_PROMOTED: {"reasons.$": "$.switches.reasons", "verdict_uri.$": "$.verdict.verdict_uri"},
        events.SKIPPED_FROZEN: {"reasons.$": "$.switches.reasons"},
        events.SKIPPED_LEASED: {"holder.$": "$.lease.holder"},
        events.REJECTED_LABELS: {"labels.$": "$.freeze.answer"},
    })


def _failure() -> States:
    return {
        # One that has ended can't be stopped, and serving must not wait for tries that are in vain.
        FAILURE: asl.choose(
            asl.both(asl.present("$.pipeline.now.status", ""), asl.equals("$.pipeline.now.status", "Succeeded", ""),
                     leased_run.SERVING_TOUCHED),
            asl.present("$.pipeline.arn", "StopPipeline"), default=leased_run.SERVING_TOUCHED),
        # SageMaker says "not running" and "slow down" by one error name, so both are tried again: a training that
        # goes on costs more than a few seconds.
        "StopPipeline": asl.call(
            "sagemaker", "stopPipelineExecution",
            {"PipelineExecutionArn.$": "$.pipeline.arn", "ClientRequestToken.$": "$.plan.client_token"},
            next_=leased_run.SERVING_TOUCHED, on_error=[asl.catch(leased_run.SERVING_TOUCHED, result="$.stop_error")],
            result=None),
        **leased_run.failure(
            subject="Retrain failed",
            message="States.Format('{}: run {} ({}) failed: {}. Execution: {}', $.story, $.run_id, "
                    "$.input.mode, $.error.Error, $.execution)",
            end=asl.fail("RetrainFailed", "A step failed after its retries; what the pointer names serves. The "
                                          "notification and the audit record name the error.")),
    }

"""The states of the receive machine: outside home, the version that home serves becomes a signed copy of this region's.

Home pushes nothing. This machine reads home's announcement, verifies, copies, signs with the region's own key and then
releases as every region does: by its own canary, under its own kill switches. Whatever is not what home signed,
or is older than what serves, is refused by name, and what serves goes on.
"""

from __future__ import annotations

from contracts import events
from mlplatform import asl, leased_run
from mlplatform.leased_run import States

FAILURE = leased_run.SERVING_TOUCHED  # where every Catch leads
_REFUSALS = ("SignatureInvalid", "OlderVersion", "EvidenceMissing")


def receive_states(*, slug: str, approval_within_s: int | None = None) -> States:
    return {
        **_entry(slug), **_copy(),
        **leased_run.release_and_promote(
            slug=slug, approval_within_s=approval_within_s,
            brings={"label_version_to.$": "$.home.label_version_to", "verdict_uri.$": "$.home.verdict_uri"},
            next_="AsReceived", on_error=FAILURE),
        **_endings(approval_within_s),
        **leased_run.failure(
            subject="Receive failed",
            message="States.Format('{}: run {} ({}) failed to receive what home serves: {}. Execution: {}', $.story, "
                    "$.run_id, $.input.trigger, $.error.Error, $.execution)",
            end=asl.fail("ReceiveFailed", "A step failed after its retries; what the pointer names serves. The "
                                          "notification and the audit record name the error.")),
    }


def _entry(slug: str) -> States:
    return {
        "Defaults": asl.put({"trigger": "manual", "reason": ""}, at="$.defaults", next_="ReadInput"),
        "ReadInput": asl.put(
            {"story": slug, "run_id.$": "$$.Execution.Name", "execution.$": "$$.Execution.Id",
             "input.$": "States.JsonMerge($.defaults, $$.Execution.Input, false)"}, at="$", next_="TakeLease"),
        "TakeLease": leased_run.take_lease(next_="Leased", on_error=FAILURE),
        "Leased": asl.choose(asl.equals("$.lease.leased", True, "ReadSwitches"), default="AsSkippedLeased"),
        "ReadSwitches": leased_run.read_switches("MayReceive", on_error=FAILURE),
        "MayReceive": asl.choose(
            asl.equals("$.switches.mode", "frozen", "AsSkippedFrozen"),
            asl.equals("$.switches.may_promote", True, "ReadHome"), default="AsNotPromoted"),
        "ReadHome": asl.function(
            "ReceivePlan", {"story.$": "$.story"}, result="$.home", next_="HomeStatus",
            fields=("status", "version", "manifest_sha256", "label_version_to", "verdict_uri", "public_key"),
            on_error=[asl.catch("ReadRefusal", *_REFUSALS), asl.catch(FAILURE)]),
        "HomeStatus": asl.choose(
            asl.equals("$.home.status", "new", "CopyFiles"),
            asl.equals("$.home.status", "rejected_here", "AsSkippedRejected"), default="AsUpToDate"),
    }


def _copy() -> States:
    return {
        "CopyFiles": asl.function(
            "ReceiveCopy", {"story.$": "$.story", "version.$": "$.home.version",
                            "manifest_sha256.$": "$.home.manifest_sha256", "verdict_uri.$": "$.home.verdict_uri",
                            "public_key.$": "$.home.public_key"},
            result="$.copied", fields=("done", "version", "model_uri", "model_package_arn"), next_="Copied",
            on_error=[asl.catch("ReadRefusal", *_REFUSALS), asl.catch(FAILURE)]),
        # A model may take longer than a function may run: what was copied is found again and the rest fetched.
        "Copied": asl.choose(asl.equals("$.copied.done", True, "KeepPublished"), default="CopyFiles"),
        "KeepPublished": asl.put(
            {"version.$": "$.copied.version", "manifest_sha256.$": "$.home.manifest_sha256",
             "model_uri.$": "$.copied.model_uri", "model_package_arn.$": "$.copied.model_package_arn"},
            at="$.published", next_="ReadSwitchesBeforeRelease"),
        # The function's own sentence: which file, which key, which version.
        "ReadRefusal": asl.put({"Error.$": "$.error.Error", "said.$": "States.StringToJson($.error.Cause)"},
                               at="$.error", next_="AsRefused"),
    }


def _endings(approval_within_s: int | None) -> States:
    home = {"home_version.$": "$.home.version", "manifest_sha256.$": "$.home.manifest_sha256"}
    switched = {"reasons.$": "$.switches.reasons"}
    ends = leased_run.ends_of(events.RECEIVE_OUTCOMES, approval_within_s=approval_within_s)
    return leased_run.endings(ends, {
        events.RECEIVED: {"version.$": "$.promoted.version", **leased_run.RELEASE_SAID, **home},
        events.SHADOW_WORSE: {**leased_run.SHADOW_SAID, "version.$": "$.published.version", **home},
        events.CANARY_ABORTED: {**leased_run.CANARY_SAID, "version.$": "$.published.version", **home},
        events.REFUSED: {"error.$": "$.error.Error", "said.$": "$.error.said.errorMessage"},
        events.UP_TO_DATE: {"status.$": "$.home.status", **home},
        events.SKIPPED_REJECTED: home,
        events.NOT_PROMOTED: switched,
        events.SKIPPED_FROZEN: switched,
        events.SKIPPED_LEASED: {"holder.$": "$.lease.holder"},
    })

"""Ends SkippedLeased, SkippedFrozen and RejectedLabels: nothing is trained, nothing moves, and the trail says why."""

from __future__ import annotations

import json

import pytest

from cli import executions
from contracts import events, metrics, naming
from contracts.kill_switches import GLOBAL_FREEZE
from tests.support import shop_labels
from tests.support.deployment import SLUG, STORY, Deployed
from tests.support.embedded import eventually

pytestmark = pytest.mark.workflow
OTHER = "arn:aws:states:ap-northeast-1:000000000000:execution:mangaassist-other:run"


def test_a_run_is_skipped_while_another_one_holds_the_lease(jp: Deployed) -> None:
    assert jp.lease("take", OTHER)["leased"]
    try:
        with jp.serving_unchanged():
            run = jp.run()
        assert run.outcome == events.SKIPPED_LEASED, run
        assert json.loads(jp.audit(run.name, events.SKIPPED_LEASED)["detail"])["end"]["holder"] == OTHER
        assert not jp.lease_is_free(), "a skipped run gave back what it never had"
    finally:
        jp.lease("give_back", OTHER)


def test_a_run_is_skipped_while_everything_is_frozen(jp: Deployed) -> None:
    with jp.serving_unchanged(), jp.flag(GLOBAL_FREEZE.name, True):
        run = jp.run()
    assert run.outcome == events.SKIPPED_FROZEN, run
    assert json.loads(jp.audit(run.name, events.SKIPPED_FROZEN)["detail"])["end"]["reasons"] == [
        f"{GLOBAL_FREEZE.name} is on"]
    assert jp.calls("CreateProcessingJob") == []


def test_labels_on_which_annotators_disagree_are_rejected_before_anything_is_trained(jp: Deployed) -> None:
    with jp.serving_unchanged(), jp.other_labels(shop_labels.quarrelling(shop_labels.rows())):
        run = jp.run()
    assert run.outcome == events.REJECTED_LABELS, run
    told = json.loads(jp.audit(run.name, events.REJECTED_LABELS)["detail"])["end"]["labels"]
    assert told["status"] == "low_kappa"
    assert told["kappa"]["en"] < STORY.labels.min_kappa
    assert jp.calls("StartPipelineExecution") == []


def test_a_drift_alarm_starts_a_run_that_no_one_started_by_hand(jp: Deployed) -> None:
    jp.forget_drift_retrains()
    before = jp.runs()
    assert jp.lease("take", OTHER)["leased"]  # the run is what is tested here, not what it trains
    try:
        with jp.serving_unchanged():
            alarm(jp, "OK")
            alarm(jp, "ALARM")
            name = eventually(lambda: next(iter(jp.runs().keys() - before.keys()), None), within_s=60)
            run = jp.finish(jp.runs()[name])
    finally:
        jp.lease("give_back", OTHER)
        alarm(jp, "OK")
    assert name.startswith("drift-")
    assert run.outcome == events.SKIPPED_LEASED
    told = json.loads(jp.audit(name, events.SKIPPED_LEASED)["detail"])["input"]
    assert (told["trigger"], told["reason"]) == ("drift", alarm_name())
    assert jp.runs().keys() - before.keys() == {name}


def test_a_drift_alarm_starts_nothing_while_everything_is_frozen(jp: Deployed) -> None:
    jp.forget_drift_retrains()  # the freeze is what stops it, not the drift retrain of another test
    before = jp.runs()
    trigger = naming.function(SLUG, "drift_trigger")
    ignored = log_of(jp, trigger).count(metrics.DRIFT_IGNORED)
    with jp.flag(GLOBAL_FREEZE.name, True):
        alarm(jp, "OK")
        alarm(jp, "ALARM")
        eventually(lambda: log_of(jp, trigger).count(metrics.DRIFT_IGNORED) > ignored, within_s=60)
    alarm(jp, "OK")
    assert jp.runs() == before


def test_an_unknown_mode_fails_before_anything_is_touched(jp: Deployed) -> None:
    with jp.serving_unchanged():
        run = jp.finish(executions.start_retrain(jp.target, SLUG, mode="retrian"))
    assert (run.outcome, run.states[-1]) == (events.FAILED, "UnknownMode")


def alarm_name() -> str:
    return naming.drift_alarm(SLUG, STORY.monitors[0].name, "en")


def alarm(jp: Deployed, state: str) -> None:
    """Only a change is an event: the alarm has to be calm before it rings."""
    jp.aws.client("cloudwatch").set_alarm_state(AlarmName=alarm_name(), StateValue=state, StateReason="test")


def log_of(jp: Deployed, function: str) -> str:
    pages = jp.aws.client("logs").get_paginator("filter_log_events").paginate(logGroupName=f"/aws/lambda/{function}")
    return "".join(event["message"] for page in pages for event in page["events"])

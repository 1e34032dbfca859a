"""A guardrail alarm that rings before a release: going forward waits for it, going back does not."""

from __future__ import annotations

import json
from contextlib import ExitStack

import pytest

from contracts import events, naming
from contracts.kill_switches import promotion_flag
from tests.support.deployment import PATIENCE_S, SLUG, Deployed
from tests.support.embedded import eventually

pytestmark = pytest.mark.workflow
ABORT, LATENCY = (naming.guardrail_alarm(SLUG, name) for name in ("canary-abort", "latency"))


def planner_looked(jp: Deployed) -> int:
    """How often the planner of releases asked for the alarms."""
    return sum("release_plan" in call["role"] for call in jp.calls("DescribeAlarms"))


def test_a_release_waits_while_an_abort_still_rings_and_promotes_when_it_is_over(jp: Deployed) -> None:
    with jp.ringing(ABORT), jp.serving_unchanged():
        arn = jp.start(reason="a release was aborted a moment ago")
        eventually(lambda: planner_looked(jp) >= 3, within_s=PATIENCE_S)
        assert jp.calls("UpdateEndpoint") == []
    run = jp.finish(arn)
    assert run.outcome == events.PROMOTED, run
    assert jp.pointer()["run_id"] == run.name
    assert jp.ask()["model_version"] == jp.pointer()["version"]


def test_a_switch_that_goes_off_while_a_release_waits_is_heeded_before_anything_is_touched(jp: Deployed) -> None:
    with jp.serving_unchanged(), ExitStack() as off:
        with jp.ringing(ABORT):
            arn = jp.start(reason="somebody switches off while the alarm rings")
            eventually(lambda: planner_looked(jp) >= 1, within_s=PATIENCE_S)
            off.enter_context(jp.flag(promotion_flag(SLUG).name, False))
        run = jp.finish(arn)
        assert run.outcome == events.NOT_PROMOTED, run
        assert "WasItSwitchedOff" in run.states
        assert jp.calls("UpdateEndpoint") == []


def test_a_run_that_waits_while_a_roll_back_takes_its_lease_never_touches_the_endpoint_again(jp: Deployed) -> None:
    jp.with_previous()
    wanted = jp.pointer()["previous"]["version"]
    looked, updates = planner_looked(jp), len(jp.calls("UpdateEndpoint"))
    with jp.ringing(ABORT):
        arn = jp.start(reason="an alarm rings, so this one waits")
        eventually(lambda: planner_looked(jp) > looked, within_s=PATIENCE_S)
        back = jp.run(mode="rollback", reason="somebody cannot wait")
        assert back.outcome == events.ROLLED_BACK, back
        run = jp.finish(arn)  # though the alarm still rings
    assert run.outcome == events.FAILED, run
    error = json.loads(jp.audit(run.name, events.FAILED)["detail"])["error"]
    assert error.startswith("LeaseLost: ")
    assert back.name in error
    assert len(jp.calls("UpdateEndpoint")) == updates + 1, "the roll-back's"
    assert jp.ask()["model_version"] == jp.pointer()["version"] == wanted


def test_an_undo_brings_the_champion_back_while_a_guardrail_rings(jp: Deployed) -> None:
    jp.with_previous()
    other = jp.pointer()["previous"]["version"]
    with jp.serving_unchanged():
        assert jp.release(other)["status"] == "SUCCEEDED"
        assert jp.ask()["model_version"] == other, "released and never promoted"
        with jp.ringing(LATENCY):
            looked = planner_looked(jp)
            assert jp.release("current", undo=True)["status"] == "SUCCEEDED"
            assert planner_looked(jp) == looked


def test_a_roll_back_is_barred_by_no_guardrail(jp: Deployed) -> None:
    jp.with_previous()
    wanted = jp.pointer()["previous"]["version"]
    with jp.ringing(LATENCY):
        run = jp.run(mode="rollback", reason="users wait")
        assert run.outcome == events.ROLLED_BACK, run
        assert jp.ask()["model_version"] == jp.pointer()["version"] == wanted


def test_a_guardrail_that_never_stops_ends_the_run_as_failed_and_on_call_hears_which(jp: Deployed) -> None:
    with jp.serving_unchanged(), jp.ringing(LATENCY), jp.changed_spec(min_instances=3) as run:
        assert run.outcome == events.FAILED, run
        assert jp.calls("UpdateEndpoint") == []
        error = json.loads(jp.audit(run.name, events.FAILED)["detail"])["error"]
        assert error.startswith(f"GuardrailRings: {LATENCY} in ALARM")
        assert [call["status"] for call in jp.calls("Publish") if call["service"] == "sns"] == [200]
        assert jp.lease_is_free()


def test_nothing_is_released_while_nobody_can_say_whether_an_alarm_rings(jp: Deployed) -> None:
    jp.with_previous()
    updates = jp.calls("UpdateEndpoint")
    blind = jp.aws.fault(service="cloudwatch", operation="DescribeAlarms", kind="error", role="release_plan")
    with jp.serving_unchanged(), blind:
        ended = jp.release(jp.pointer()["previous"]["version"])
    assert (ended["status"], ended["error"]) == ("FAILED", "ReleaseFailed")
    looks = [call["status"] for call in jp.calls("DescribeAlarms") if "fault" in call]
    assert len(looks) > 1, "it was tried again"
    assert jp.calls("UpdateEndpoint") == updates

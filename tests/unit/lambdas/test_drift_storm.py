"""All stories alarm at once: a bounded number retrains, in order; the others wait and are asked again."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts import naming, records, stories
from lambdas.drift_trigger import handler as module
from lambdas.drift_trigger.handler import handler
from lambdas.drift_trigger.logic import POLICY, Admission, Claim, StormPolicy, admit, deferred_claim, recorded
from lambdas.drift_trigger.store import DynamoLedger
from tests.unit.lambdas.account import CONTROL, STORY, Account
from tests.unit.lambdas.test_flags_and_switches import DRIFT_ALARM, alarm_event, make_machine, set_flags

ORDER = [entry.slug for entry in stories.deploy_order()]
START, DEFERRED, COOLING = Admission.START, Admission.DEFERRED, Admission.COOLING


def claim(slug: str, *, at: int = 0, started: bool = False, event: str = "") -> Claim:
    return Claim(event_id=event or f"{slug}-{at}", alarm=naming.drift_alarm(slug, "input", "ja"), at=at,
                 started=started)


def ask(ledger: dict[str, Claim], slug: str, now: int, policy: StormPolicy = POLICY) -> tuple[Admission, dict]:
    wish = deferred_claim(ledger, slug, now=now, policy=policy) or claim(slug, at=now)
    found = admit(ledger, {slug: wish}, now=now, priority=ORDER, policy=policy)[slug]
    return found, recorded(ledger, slug, wish, found, now=now)


def test_all_at_once_the_first_in_the_order_start_and_the_others_are_deferred() -> None:
    found = admit({}, {slug: claim(slug) for slug in reversed(ORDER)}, now=0, priority=ORDER)
    assert [slug for slug in ORDER if found[slug] is START] == ORDER[:POLICY.max_starts]
    assert {slug for slug in ORDER if found[slug] is DEFERRED} == set(ORDER[POLICY.max_starts:])


def test_deferred_stories_start_in_order_when_there_is_room_again() -> None:
    ledger: dict[str, Claim] = {}
    for slug in reversed(ORDER):  # the least important alarms first and is not turned away for it
        _, ledger = ask(ledger, slug, now=0)
    began = [slug for slug, c in ledger.items() if c.started]
    assert began == [ORDER[-1], ORDER[-2]]
    later, more = POLICY.storm_s, []
    for slug in reversed(ORDER[:-2]):
        found, ledger = ask(ledger, slug, later)
        more += [slug] if found is START else []
    assert sorted(more) == sorted(ORDER[:2])


def test_a_story_cools_down_for_itself() -> None:
    ledger = {ORDER[0]: claim(ORDER[0], at=0, started=True)}
    assert ask(ledger, ORDER[0], POLICY.cooldown_s - 1)[0] is COOLING
    assert ask(ledger, ORDER[0], POLICY.cooldown_s)[0] is START
    assert ask(ledger, ORDER[1], 1)[0] is START


def test_cooling_changes_nothing_and_a_repeat_starts_again() -> None:
    ledger = {ORDER[0]: claim(ORDER[0], at=0, started=True, event="e1")}
    assert ask(ledger, ORDER[0], 5)[1] == ledger
    again = claim(ORDER[0], at=9, event="e1")
    assert admit(ledger, {ORDER[0]: again}, now=9, priority=ORDER) == {ORDER[0]: START}
    assert recorded(ledger, ORDER[0], again, START, now=9) == ledger


def test_a_claim_that_waited_too_long_is_forgotten() -> None:
    ledger = {ORDER[0]: claim(ORDER[0], at=0)}
    assert deferred_claim(ledger, ORDER[0], now=POLICY.patience_s - 1) == ledger[ORDER[0]]
    assert deferred_claim(ledger, ORDER[0], now=POLICY.patience_s) is None
    assert ORDER[0] not in admit(ledger, {ORDER[3]: claim(ORDER[3])}, now=POLICY.patience_s, priority=ORDER)


@given(st.lists(st.tuples(st.sampled_from(ORDER), st.integers(0, 7_200)), max_size=40), st.integers(1, 4))
def test_never_more_starts_than_allowed_within_a_storm(asks: list[tuple[str, int]], most: int) -> None:
    policy, ledger, now, starts = StormPolicy(max_starts=most), {}, 0, set()  # an event told twice starts one
    for slug, wait in asks:
        now += wait
        found, ledger = ask(ledger, slug, now, policy)
        starts |= {(slug, now)} if found is START else set()
    for _, at in starts:
        assert sum(at <= other < at + policy.storm_s for _, other in starts) <= most
    for slug in ORDER:
        own = sorted(at for other, at in starts if other == slug)
        assert all(b - a >= policy.cooldown_s for a, b in itertools.pairwise(own))


@given(st.permutations(ORDER))
def test_the_answer_does_not_depend_on_who_is_named_first(order: list[str]) -> None:
    found = admit({}, {slug: claim(slug) for slug in order}, now=0, priority=ORDER)
    assert found == admit({}, {slug: claim(slug) for slug in ORDER}, now=0, priority=ORDER)


# --- the function -------------------------------------------------------------------------


def others_started(account: Account, now: int) -> None:
    ledger = {slug: claim(slug, at=now, started=True) for slug in ORDER if slug != STORY}
    assert DynamoLedger(account.dynamodb, CONTROL).write(dict(list(ledger.items())[:POLICY.max_starts]), 0)


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(module.time, "time", lambda: 1_000_000.0)
    return 1_000_000


def test_in_a_storm_the_start_is_deferred_and_the_hourly_retry_starts_it(
    account: Account, context: Any, emitted: Any, now: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_flags(account)
    machine = make_machine(account)
    others_started(account, now)
    assert handler(alarm_event(DRIFT_ALARM), context) == {"started": None, "reason": str(DEFERRED)}
    assert handler({"story": STORY, "retry": True}, context)["started"] is None
    assert [line["Reason"] for line in emitted("DriftTriggerIgnored")] == ["deferred", "deferred"]
    monkeypatch.setattr(module.time, "time", lambda: float(now + POLICY.storm_s))
    found = handler({"story": STORY, "retry": True}, context)
    assert machine.describe_execution(executionArn=found["started"])["name"].startswith("drift-11111111")
    assert found["reason"] == DRIFT_ALARM
    assert handler({"story": STORY, "retry": True}, context)["started"] is None


def test_a_second_alarm_of_the_same_drift_starts_nothing(account: Account, context: Any, emitted: Any) -> None:
    set_flags(account)
    make_machine(account)
    assert handler(alarm_event(DRIFT_ALARM), context)["started"]
    second = {**alarm_event(naming.drift_alarm(STORY, "prediction", "ja")), "id": "another"}
    assert handler(second, context) == {"started": None, "reason": str(COOLING)}
    assert [line["Reason"] for line in emitted("DriftTriggerIgnored")] == ["cooling"]


def test_a_start_that_failed_is_started_by_the_retry_of_its_event(
    account: Account, context: Any, stub: Any
) -> None:
    set_flags(account)
    stub("stepfunctions").add_client_error("start_execution", "ThrottlingException")
    with pytest.raises(Exception, match="ThrottlingException"):
        handler(alarm_event(DRIFT_ALARM), context)
    stub("stepfunctions").add_client_error("start_execution", "ExecutionAlreadyExists")
    assert handler(alarm_event(DRIFT_ALARM), context)["started"]


def test_two_stories_that_write_at_once_both_count(account: Account, context: Any, now: int) -> None:
    store = DynamoLedger(account.dynamodb, CONTROL)
    first, revision = store.read()
    assert (first, revision) == ({}, 0)
    assert store.write({ORDER[1]: claim(ORDER[1], at=now, started=True)}, revision)
    assert not store.write({ORDER[2]: claim(ORDER[2], at=now, started=True)}, revision)
    assert store.read() == ({ORDER[1]: claim(ORDER[1], at=now, started=True)}, 1)


def test_a_ledger_that_never_stands_still_is_an_error(
    account: Account, context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_flags(account)
    monkeypatch.setattr(DynamoLedger, "write", lambda self, ledger, revision: False)
    with pytest.raises(TimeoutError, match="changed under 10 tries"):
        handler(alarm_event(DRIFT_ALARM), context)


def test_no_story_can_be_called_like_the_fleet() -> None:
    with pytest.raises(ValueError, match="slug must be"):
        naming.check_slug(records.FLEET)

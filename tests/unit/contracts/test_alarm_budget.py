"""One number is the budget; levels and rules follow from it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from contracts.alarm_budget import (
    FALSE_ALARMS_A_WEEK,
    LOOK_EVERY_S,
    TESTS_A_SLICE,
    AlarmRule,
    Fleet,
    alarm_rule,
    level,
)
from contracts.stories import CONTRACTS

RULE = AlarmRule(level=1e-3, required=2, of=3)


def test_the_expected_false_alarms_of_the_fleet_are_the_budget() -> None:
    """By hand: 8 stories, 3 deployments, 3 languages each whole and by 3 cohorts, 8 tests, 4 spans, 168 hours."""
    assert level() * (8 * 3 * 3 * 4 * 8 * 4 * 168) == pytest.approx(FALSE_ALARMS_A_WEEK)


def test_more_tests_make_each_harder_to_fail() -> None:
    assert level(replace(Fleet(), stories=16)) == pytest.approx(level() / 2)
    assert level(budget=2.0) == pytest.approx(2 * level())


def test_a_tiny_fleet_does_not_ring_at_chance() -> None:
    assert level(Fleet(stories=1, deployments=1, slices=1, tests_a_slice=1, spans=1, looks_a_week=1)) == 0.05


def test_no_budget_is_an_error() -> None:
    with pytest.raises(ValueError, match="above 0 false alarms a week, got 0"):
        level(budget=0)


def test_every_story_has_room_in_the_budget() -> None:
    """One more is the embedding test, which stories with embeddings add."""
    assert CONTRACTS
    for story in CONTRACTS.values():
        assert sum(len(m.features) for m in story.monitors) + 1 <= TESTS_A_SLICE, story.slug


def test_a_distribution_is_judged_over_what_lies_between_two_looks() -> None:
    """Longer spans are sums of these windows."""
    windows = {m.window_s for story in CONTRACTS.values() for m in story.monitors if m.kind != "concept"}
    assert windows == {LOOK_EVERY_S}


@pytest.mark.parametrize(("looks", "rings"), [
    ([], False), ([1e-3], False), ([1e-3, 1e-4], True), ([1e-3, None, 1e-3], True), ([1e-3, None, None, 1e-3], False),
    ([1e-3, 1e-3, None], True), ([2e-3, 2e-3, 2e-3], False), ([1e-6], True), ([1e-6, None], False), ([None] * 3, False),
])
def test_two_of_three_looks_or_one_beyond_doubt(looks: list[float | None], rings: bool) -> None:
    assert RULE.rings(looks) is rings


def test_the_contract_s_time_to_detect_says_how_many_looks() -> None:
    monitor, _, concept = CONTRACTS["intent-classifier"].monitors
    assert (alarm_rule(monitor).required, alarm_rule(monitor).of) == (2, 3)
    assert (alarm_rule(concept).required, alarm_rule(concept).of) == (1, 1)  # a day's window: hourly looks overlap
    hurried = alarm_rule(replace(monitor, detect_within_s=monitor.window_s))
    assert (hurried.required, hurried.of, hurried.sure_level) == (1, 1, hurried.level)


@pytest.mark.parametrize("required", [0, 4])
def test_m_lies_between_1_and_n(required: int) -> None:
    with pytest.raises(ValueError, match="required must be 1 to 3"):
        AlarmRule(level=0.01, required=required, of=3)

"""How often the whole fleet's drift alarms may ring without drift, and what follows for each single test.

The budget is `FALSE_ALARMS_A_WEEK`, and nothing else needs to be changed to change it. Every test gets the same level,
budget / tests a week (Bonferroni): the expected number of false rejections then stays within the budget however the
tests depend on each other. They do: all windows share one reference, and a day contains its hours. Benjamini-Hochberg
bounds the share of false ones among all alarms instead; on a quiet week every alarm is false and it promises nothing
about how many there are.

An alarm needs M of N looks, or one look at level^M, which is as rare as M independent ones (after the Western Electric
rules of 1956: one point beyond 3 sigma, or two of three beyond 2). The level takes no credit for it: it is there for
what no test models, a burst or a retry storm that passes within the hour.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from contracts.deployments import DEPLOYMENTS
from contracts.language import LANGUAGES
from contracts.stories.roster import ROSTER
from contracts.story import DriftMonitor

FALSE_ALARMS_A_WEEK = 1.0  # of all stories, slices and deployments together
LOOK_EVERY_S = 3_600
LOOKS_A_WEEK = 7 * 86_400 // LOOK_EVERY_S
SPANS_H = (1, 4, 12, 24)  # each look judges the last hour and what it merges to
COHORTS_AND_ALL = 4  # new, returning, power user, and all of them
TESTS_A_SLICE = 8  # features of input, label and prediction, embeddings, concept; a test holds every story to it
CONFIRMED_BY, OUT_OF = 2, 3


@dataclass(frozen=True, kw_only=True)
class Fleet:
    """What is tested in a week."""

    stories: int = len(ROSTER)
    deployments: int = len(DEPLOYMENTS)
    slices: int = len(LANGUAGES) * COHORTS_AND_ALL
    tests_a_slice: int = TESTS_A_SLICE
    spans: int = len(SPANS_H)
    looks_a_week: int = LOOKS_A_WEEK

    @property
    def tests_a_week(self) -> int:
        tested = self.stories * self.deployments * self.slices * self.tests_a_slice
        return tested * self.spans * self.looks_a_week


@dataclass(frozen=True, kw_only=True)
class AlarmRule:
    """Rings at `required` of the last `of` looks with p <= `level`, or at one with p <= `sure_level`."""

    level: float
    required: int
    of: int

    def __post_init__(self) -> None:
        if not 1 <= self.required <= self.of:
            raise ValueError(f"required must be 1 to {self.of} (the looks it counts over), got {self.required}")

    @property
    def sure_level(self) -> float:
        return float(self.level**self.required)

    def rings(self, looks: Sequence[float | None]) -> bool:
        """Whether the alarm rings after `looks`, oldest first.

        Each is the p-value of a shift above the practical threshold, or None for a look that found none or had too
        little to say: it confirms nothing, and it takes nothing back before it has left the last `of`.
        """
        if not looks:
            return False
        drifted = [p for p in looks[-self.of :] if p is not None and p <= self.level]
        latest = looks[-1]
        return len(drifted) >= self.required or (latest is not None and latest <= self.sure_level)


def level(fleet: Fleet | None = None, *, budget: float = FALSE_ALARMS_A_WEEK) -> float:
    """Per-test level: budget / tests a week."""
    if budget <= 0:
        raise ValueError(f"the budget must be above 0 false alarms a week, got {budget}")
    return min(budget / (fleet or Fleet()).tests_a_week, 0.05)


def alarm_rule(monitor: DriftMonitor) -> AlarmRule:
    """2 of 3 looks where they see different requests and the contract's time to detect has room for them.

    A window longer than the hour between two looks shares its requests with the next: its first look rings.
    """
    room = monitor.window_s <= LOOK_EVERY_S and monitor.detect_within_s >= OUT_OF * LOOK_EVERY_S
    return AlarmRule(level=level(), required=CONFIRMED_BY if room else 1, of=OUT_OF if room else 1)

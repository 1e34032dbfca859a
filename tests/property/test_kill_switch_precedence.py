"""Every combination of flags and outages against an oracle written as a table, not as code."""

from __future__ import annotations

from itertools import product

import pytest

from contracts.kill_switches import Flag, decide
from contracts.stories import CONTRACTS
from contracts.story import StoryContract
from lambdas.drift_trigger.logic import answer

SLUG = "toy-model"
FREEZE, PROMOTION = "global_ml_freeze", "toy_model_promotion_enabled"

# What SSM may hold or do. An outage, a missing parameter and rubbish are all "not readable".
STORED = {"true": True, "false": False, " TRUE ": True, "False\n": False, None: None, "": None, "yes": None, "0": None}

# (freeze, promotion), None = not readable -> (mode, may_retrain, may_release, may_promote, heed_drift).
# Mission, "Kill switches": freeze beats all; an unreadable freeze is no freeze; an unreadable promotion is off.
TABLE = {
    (True, True): ("frozen", False, False, False, False),
    (True, False): ("frozen", False, False, False, False),
    (True, None): ("frozen", False, False, False, False),
    (False, True): ("open", True, True, True, True),
    (False, False): ("promotion_off", True, False, False, True),
    (False, None): ("promotion_off", True, False, False, True),
    (None, True): ("open", True, True, True, True),
    (None, False): ("promotion_off", True, False, False, True),
    (None, None): ("promotion_off", True, False, False, True),
}


def test_precedence_holds_for_every_combination_of_flags_and_outages() -> None:
    checked = 0
    for freeze, promotion, technique, safe in product(STORED, STORED, STORED, (True, False)):
        flag = Flag(name="toy_model_cache_enabled", initial=True, safe=safe, description="d")
        readings = {FREEZE: freeze, PROMOTION: promotion, flag.name: technique}
        decision = decide(readings, slug=SLUG, techniques=(flag,))

        said = (decision.mode.value, decision.may_retrain, decision.may_release, decision.may_promote,
                decision.heed_drift)
        assert said == TABLE[STORED[freeze], STORED[promotion]], readings
        read = STORED[technique]
        on = STORED[freeze] is not True and (safe if read is None else read)
        assert decision.techniques == {flag.name: on}, readings
        assert decision.fallbacks == tuple(name for name, raw in readings.items() if STORED[raw] is None), readings
        checked += 1
    assert checked == len(STORED) ** 3 * 2


def test_an_absent_reading_is_an_unreadable_one() -> None:
    for names in product((True, False), repeat=2):
        present = {name: None for name, there in zip((FREEZE, PROMOTION), names, strict=True) if there}
        assert decide(present, slug=SLUG) == decide({}, slug=SLUG)


def test_another_models_flags_change_nothing() -> None:
    open_ = {FREEZE: "false", PROMOTION: "true"}
    for raw in STORED:
        assert decide(open_ | {"other_model_promotion_enabled": raw}, slug=SLUG) == decide(open_, slug=SLUG)


@pytest.mark.parametrize("story", CONTRACTS.values(), ids=CONTRACTS)
def test_precedence_holds_for_every_flag_that_a_story_really_has(story: StoryContract) -> None:
    """Each of its flags on, off or out of reach, all combinations; and the drift trigger does as the decision says."""
    promotion, *techniques = (flag.name for flag in story.flags)
    checked = 0
    for values in product(("true", "false", None), repeat=1 + len(story.flags)):
        readings = dict(zip((FREEZE, promotion, *techniques), values, strict=True))
        decision = decide(readings, slug=story.slug, techniques=story.techniques)
        said = (decision.mode.value, decision.may_retrain, decision.may_release, decision.may_promote,
                decision.heed_drift)
        assert said == TABLE[STORED[readings[FREEZE]], STORED[readings[promotion]]], readings
        frozen = decision.mode.value == "frozen"
        for flag in story.techniques:
            read = STORED[readings[flag.name]]
            assert decision.techniques[flag.name] is (not frozen and (flag.safe if read is None else read)), readings
        assert answer("an alarm", decision).start is decision.heed_drift
        checked += 1
    assert checked == 3 ** (1 + len(story.flags))

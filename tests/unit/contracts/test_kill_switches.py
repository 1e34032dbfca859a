"""Three levels of flags, their precedence and what holds when one can't be read."""

from __future__ import annotations

import pytest

from contracts.kill_switches import GLOBAL_FREEZE, Flag, Mode, decide, parse_flag, promotion_flag

SLUG = "toy-model"
TECHNIQUE = Flag(name="toy_model_cache_enabled", initial=True, safe=False, description="d")
OPEN = {"global_ml_freeze": "false", "toy_model_promotion_enabled": "true", "toy_model_cache_enabled": "true"}


def test_all_flags_as_deployed_allow_everything() -> None:
    decision = decide(OPEN, slug=SLUG, techniques=(TECHNIQUE,))
    assert (decision.mode, decision.may_retrain, decision.may_release, decision.may_promote, decision.heed_drift) \
        == (Mode.OPEN, True, True, True, True)
    assert (decision.techniques, decision.fallbacks, decision.reasons) == ({TECHNIQUE.name: True}, (), ())


def test_the_freeze_beats_everything() -> None:
    decision = decide(OPEN | {"global_ml_freeze": "true"}, slug=SLUG, techniques=(TECHNIQUE,))
    assert decision.mode is Mode.FROZEN
    allowed = (decision.may_retrain, decision.may_release, decision.may_promote, decision.heed_drift)
    assert allowed == (False, False, False, False)
    assert decision.techniques == {TECHNIQUE.name: False}
    assert decision.reasons == ("global_ml_freeze is on",)


def test_promotion_off_still_trains_and_judges() -> None:
    decision = decide(OPEN | {"toy_model_promotion_enabled": "false"}, slug=SLUG)
    assert (decision.mode, decision.may_retrain, decision.heed_drift) == (Mode.PROMOTION_OFF, True, True)
    assert (decision.may_release, decision.may_promote) == (False, False)


def test_nothing_readable_neither_freezes_nor_promotes() -> None:
    decision = decide({}, slug=SLUG, techniques=(TECHNIQUE,))
    assert decision.mode is Mode.PROMOTION_OFF
    assert decision.fallbacks == ("global_ml_freeze", "toy_model_promotion_enabled", TECHNIQUE.name)
    assert "global_ml_freeze could not be read: its safe default holds" in decision.reasons


@pytest.mark.parametrize(("raw", "value"), [
    ("true", True), (" TRUE\n", True), ("false", False), ("False", False), ("1", None), ("yes", None), ("", None),
    (None, None),
])
def test_a_flag_says_true_or_false_and_nothing_else(raw: str | None, value: bool | None) -> None:
    assert parse_flag(raw) is value


def test_a_decision_becomes_plain_json() -> None:
    assert decide(OPEN, slug=SLUG).to_dict() == {
        "mode": "open", "may_retrain": True, "may_release": True, "may_promote": True, "heed_drift": True,
        "techniques": {}, "fallbacks": [], "reasons": []}


def test_flags_live_at_paths_that_name_them() -> None:
    assert GLOBAL_FREEZE.parameter == "/mangaassist/flags/global_ml_freeze"
    assert promotion_flag(SLUG).parameter == "/mangaassist/flags/toy_model_promotion_enabled"

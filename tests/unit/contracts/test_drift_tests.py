"""Tests over counts against scipy and against answers by hand; outcomes that never call missing data calm."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from scipy import stats

from contracts.concept_drift import f1_drop, macro_f1
from contracts.drift_outcome import Outcome, Rule, Verdict, judge_counts, judge_f1
from contracts.drift_tests import chi_squared, chi_squared_sf, kolmogorov_p, normal_sf

RULE = Rule(threshold=0.2, level=1e-4, min_rows=200)
EVEN, SHIFTED = [100] * 8, [40, 40, 40, 40, 160, 160, 160, 160]


@pytest.mark.parametrize("dof", [1, 2, 7, 14, 63])
@pytest.mark.parametrize("x", [0.01, 1.0, 6.9, 30.0, 120.0, 500.0])
def test_the_chi_squared_tail_is_scipys(dof: int, x: float) -> None:
    assert chi_squared_sf(x, dof) == pytest.approx(stats.chi2.sf(x, dof), rel=1e-9, abs=1e-300)


@pytest.mark.parametrize("z", [-3.0, 0.0, 1.96, 8.0, 20.0])
def test_the_normal_tail_is_scipys(z: float) -> None:
    assert normal_sf(z) == pytest.approx(stats.norm.sf(z), rel=1e-12)


def test_nothing_beyond_a_shift_of_nothing() -> None:
    assert chi_squared_sf(0.0, 7) == chi_squared_sf(3.0, 0) == 1.0
    assert kolmogorov_p(0.0, 100, 100) == 1.0


def test_chi_squared_of_well_filled_bins_is_scipys() -> None:
    first, second = [50, 30, 20], [30, 30, 40]
    theirs = stats.chi2_contingency([first, second], correction=False)
    ours = chi_squared(first, second)
    assert (ours.statistic, ours.p_value) == (pytest.approx(theirs.statistic), pytest.approx(theirs.pvalue))


def test_bins_with_fewer_than_five_expected_are_one_bin() -> None:
    pooled = chi_squared([500, 300, 2, 3, 1], [480, 310, 4, 1, 2])
    assert pooled.p_value == pytest.approx(chi_squared([500, 300, 6], [480, 310, 7]).p_value)
    assert chi_squared([500, 300, 1], [480, 310, 0]) == chi_squared([500, 301], [480, 310])


def test_one_bin_can_not_differ() -> None:
    assert chi_squared([0, 300, 0], [0, 200, 0]).p_value == 1.0


@pytest.mark.parametrize(("n", "m"), [(300, 200), (5_000, 400), (100_000, 100_000)])
def test_the_kolmogorov_p_value_is_close_to_scipys(n: int, m: int) -> None:
    for scaled in (0.6, 0.9, 1.2, 1.8, 2.5):
        distance = scaled / math.sqrt(n * m / (n + m))
        theirs = stats.kstwo.sf(distance, round(n * m / (n + m)))
        assert kolmogorov_p(distance, n, m) == pytest.approx(theirs, rel=0.1)


def test_chi_squared_refuses_an_empty_side_and_other_bins() -> None:
    with pytest.raises(ValueError, match="missing data"):
        chi_squared([1, 2], [0, 0])
    with pytest.raises(ValueError, match="got 2 and 3"):
        chi_squared([1, 2], [1, 2, 3])


def test_the_p_values_of_equal_distributions_are_even() -> None:
    """Reference and window both drawn: what a test that trusts the reference blindly gets wrong."""
    rng = np.random.default_rng(3)
    shares = rng.dirichlet([4.0] * 8)
    first, second = rng.multinomial(300, shares, 2_000).tolist(), rng.multinomial(200, shares, 2_000).tolist()
    p_values = np.array([chi_squared(a, b).p_value for a, b in zip(first, second, strict=True)])
    assert stats.kstest(p_values, "uniform").pvalue > 1e-3


# --- concept ------------------------------------------------------------------------------


def test_macro_f1_by_hand_and_it_merges() -> None:
    hours = [Counter({("a", "a"): 1, ("a", "b"): 1}), Counter({("a", "a"): 1, ("b", "b"): 1})]
    # a: 2 hits, 1 missed -> 4/5; b: 1 hit, 1 wrongly answered -> 2/3
    assert macro_f1(hours[0] + hours[1]).value == pytest.approx((4 / 5 + 2 / 3) / 2)


def test_the_standard_error_of_f1_is_the_bootstraps() -> None:
    rng = np.random.default_rng(5)
    cells = {("a", "a"): 300, ("a", "b"): 40, ("b", "b"): 200, ("b", "c"): 10, ("c", "c"): 80, ("c", "a"): 20}
    rows = sum(cells.values())
    draws = rng.multinomial(rows, np.array(list(cells.values())) / rows, size=2_000)
    resampled = [macro_f1(dict(zip(cells, map(int, draw), strict=True))).value for draw in draws]
    assert macro_f1(cells).standard_error == pytest.approx(np.std(resampled), rel=0.08)


def test_a_clear_drop_is_significant_and_an_equal_f1_is_not() -> None:
    good = macro_f1({("a", "a"): 450, ("a", "b"): 50, ("b", "b"): 500})
    worse = macro_f1({("a", "a"): 400, ("a", "b"): 100, ("b", "b"): 400, ("b", "a"): 100})
    drop, test = f1_drop(good.value, worse, expected_error=good.standard_error)
    assert drop > 0.1
    assert test.p_value < 1e-6
    assert f1_drop(good.value, good)[1].p_value == pytest.approx(0.5)


def test_a_window_without_a_mistake_still_has_a_test() -> None:
    perfect = macro_f1({("a", "a"): 100})
    assert perfect.standard_error == 0
    assert f1_drop(0.95, perfect)[1].p_value > 0.5


def test_no_feedback_is_an_error() -> None:
    with pytest.raises(ValueError, match="got none"):
        macro_f1({})


# --- outcomes -----------------------------------------------------------------------------


def test_a_shift_must_be_large_and_beyond_chance() -> None:
    large = judge_counts(EVEN, SHIFTED, RULE)
    assert large.verdict is Verdict.DRIFTED
    assert large.effect is not None
    assert large.effect > 0.2
    assert large.p_value is not None
    assert large.p_value <= RULE.level
    # many rows: significant, but too small to matter
    small = judge_counts([100_000] * 8, [102_000, 98_000] * 4, RULE)
    assert (small.verdict, small.p_value is not None and small.p_value < 1e-9) == (Verdict.STABLE, True)
    # few rows: PSI above 0.2, but chance does that
    chance = judge_counts([14] * 8, [40, 12, 36, 14, 25, 41, 10, 22], RULE)
    assert chance.effect is not None
    assert (chance.verdict, chance.effect > 0.2) == (Verdict.STABLE, True)


@pytest.mark.parametrize(("reference", "current", "missing", "reason"), [
    (EVEN, [0] * 8, 0, "no rows in the window"),
    (EVEN, [24] * 8, 0, "192 rows in the window, 200 are needed"),
    (None, EVEN, 0, "no reference for this slice"),
    ([0] * 8, EVEN, 0, "no reference for this slice"),
    (EVEN, EVEN, 50, "6% of the rows lack the feature, at most 5% may"),
])
def test_too_little_is_insufficient_with_its_reason(
    reference: list[int] | None, current: list[int], missing: int, reason: str
) -> None:
    found = judge_counts(reference, current, RULE, missing=missing)
    assert (found.verdict, found.reason, found.effect, found.p_value) == (Verdict.INSUFFICIENT, reason, None, None)


def test_a_large_shift_against_a_handful_of_rows_is_not_calm() -> None:
    rule = Rule(threshold=0.2, level=1e-4, min_rows=200)
    found = judge_counts([5, 5, 5, 5, 0], [0, 0, 0, 0, 220], rule)
    assert (found.verdict, "too few rows outside one bin" in found.reason) == (Verdict.INSUFFICIENT, True)


def test_concept_outcomes() -> None:
    worse = {("a", "a"): 400, ("a", "b"): 100, ("b", "b"): 400, ("b", "a"): 100}
    rule = Rule(threshold=0.03, level=1e-4, min_rows=200)
    assert judge_f1(0.95, worse, rule).verdict is Verdict.DRIFTED
    assert judge_f1(0.81, worse, rule).verdict is Verdict.STABLE
    assert judge_f1(None, worse, rule).reason == "no reference for this slice"
    assert judge_f1(0.95, {}, rule).reason == "no rows in the window"


def test_an_outcome_can_not_be_calm_without_a_number() -> None:
    with pytest.raises(ValueError, match="unless it is insufficient"):
        Outcome(verdict=Verdict.STABLE, reason="quiet", rows=0, reference_rows=0)
    with pytest.raises(ValueError, match="unless it is insufficient"):
        Outcome(verdict=Verdict.INSUFFICIENT, reason="loud", rows=0, reference_rows=0, effect=0.3)


@pytest.mark.parametrize("wrong", [{"level": 0.0}, {"level": 1.0}, {"min_rows": 0}])
def test_a_rule_is_checked_at_birth(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"level must be|must be 1 or more"):
        Rule(**{"threshold": 0.2, "level": 0.01, "min_rows": 1, **wrong})  # type: ignore[arg-type]

"""Drift statistics add up in any order and never call missing data calm."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from contracts.drift_outcome import Rule, Verdict, judge_counts
from contracts.drift_tests import chi_squared
from model_code.common import drift_statistics as ds

COUNTS = st.integers(min_value=0, max_value=10**6)


def histograms(number: int) -> st.SearchStrategy[list[list[int]]]:
    return st.integers(min_value=1, max_value=10).flatmap(
        lambda bins: st.lists(st.lists(COUNTS, min_size=bins, max_size=bins), min_size=number, max_size=number))


PAIRS = histograms(2).filter(lambda pair: any(pair[0]) and any(pair[1]))
VALUES = st.lists(st.floats(-50, 50), min_size=1, max_size=40)
GRID = ds.grid_of(np.linspace(-20, 20, 2_000))


@given(PAIRS)
def test_tests_are_symmetric_and_give_chances(pair: list[list[int]]) -> None:
    there, back = chi_squared(*pair), chi_squared(*reversed(pair))
    assert 0 <= there.p_value <= 1
    assert there.statistic >= 0
    assert abs(there.statistic - back.statistic) <= 1e-9 * max(1.0, there.statistic)


@given(PAIRS)
def test_equal_histograms_are_no_surprise(pair: list[list[int]]) -> None:
    assert chi_squared(pair[0], pair[0]).p_value == 1.0


@given(PAIRS)
def test_chi_squared_of_filled_tables_is_scipys(pair: list[list[int]]) -> None:
    table = np.array(pair) + 10**6  # no bin is pooled
    if table.shape[1] > 1:
        ours, theirs = chi_squared(*table.tolist()), stats.chi2_contingency(table, correction=False)
        assert abs(ours.p_value - theirs.pvalue) < 1e-9


@settings(max_examples=50)
@given(VALUES, VALUES)
def test_ks_over_cells_is_within_the_cells_of_the_exact_one(first: list[float], second: list[float]) -> None:
    cells = [ds.count([np.array(v)], np.zeros(len(v), dtype=int), [GRID], n_slices=1).counts[0, 0, :-1]
             for v in (first, second)]
    ours, exact = ds.kolmogorov_smirnov(*cells), float(stats.ks_2samp(first, second, method="asymp").statistic)
    assert -1e-12 <= exact - ours.distance <= ours.resolution + 1e-12


@settings(max_examples=50)
@given(st.lists(VALUES, min_size=1, max_size=5), st.integers(1, 3))
def test_windows_merge_exactly(windows: list[list[float]], n_slices: int) -> None:
    def counted(values: list[float]) -> ds.Histograms:
        slices = np.array([int(abs(v)) % n_slices for v in values])  # a row keeps its slice wherever it is counted
        return ds.count([np.array(values)], slices, [GRID], n_slices=n_slices)

    merged = counted(windows[0])
    for window in windows[1:]:
        merged = merged.merge(counted(window))
    assert np.array_equal(merged.counts, counted([v for window in windows for v in window]).counts)


@given(histograms(2), st.integers(1, 500), st.integers(0, 10**6))
def test_thin_windows_are_never_stable(pair: list[list[int]], rows: int, missing: int) -> None:
    rule = Rule(threshold=0.2, level=1e-3, min_rows=rows)
    found = judge_counts(pair[0], pair[1], rule, missing=missing)
    if sum(pair[1]) < rows or sum(pair[0]) == 0:
        assert found.verdict is Verdict.INSUFFICIENT
    assert (found.verdict is Verdict.INSUFFICIENT) == (found.p_value is None)
    assert found.reason

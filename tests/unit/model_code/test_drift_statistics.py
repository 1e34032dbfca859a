"""Cells, PSI and KS against plain numpy and scipy; embeddings; and merging equals computing at once, bit by bit."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from contracts.drift import Reference, histogram
from contracts.drift import psi as plain_psi
from model_code.common import drift_statistics as ds
from model_code.common import embedding_drift as ed

RNG = np.random.default_rng(8)
COLUMNS = [RNG.normal(size=6_000), np.exp(RNG.normal(size=6_000)), RNG.integers(0, 5, 6_000).astype(float)]
SLICES = RNG.integers(0, 3, 6_000)
GRIDS = [ds.grid_of(column) for column in COLUMNS]


def counted(columns: list[np.ndarray] = COLUMNS, slices: np.ndarray = SLICES) -> ds.Histograms:
    return ds.count(columns, slices, GRIDS, n_slices=3)


@pytest.mark.parametrize("feature", [0, 1, 2])
def test_grouped_cells_count_what_edges_count(feature: int) -> None:
    found = counted()
    cells = ds.snapped_edges(found, feature, slice_=1, bins=8)
    edges = tuple(GRIDS[feature].edge(cell) for cell in cells)
    reference = Reference(feature="f", counts=(0,) * (len(edges) + 1), edges=edges)
    values = COLUMNS[feature][SLICES == 1].tolist()
    # the edge itself and the float below it are the values that a rounding error would misplace
    values += [*edges, *(math.nextafter(e, -math.inf) for e in edges)]
    exact = ds.count([np.array(values)], np.zeros(len(values), dtype=int), [GRIDS[feature]], n_slices=1)
    assert ds.binned(exact, 0, slice_=0, edges=cells).tolist() == histogram(reference, values)


def test_bins_hold_about_equal_shares_of_their_own_slice() -> None:
    found = counted()
    cells = ds.snapped_edges(found, 0, slice_=2, bins=8)
    shares = ds.binned(found, 0, slice_=2, edges=cells) / found.rows[2, 0]
    assert len(shares) == 8
    assert shares == pytest.approx(1 / 8, abs=0.01)


def test_psi_is_the_plain_one() -> None:
    pair = RNG.integers(0, 50, (2, 40, 9))
    expected = [plain_psi(a.tolist(), b.tolist()) for a, b in zip(*pair, strict=True)]
    assert ds.psi(*pair) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("feature", [0, 1, 2])
def test_ks_is_scipys_within_its_resolution(feature: int) -> None:
    moved = COLUMNS[feature] + (0.05 if feature < 2 else 0.0)
    both = [ds.count([c], np.zeros(len(c), dtype=int), [GRIDS[feature]], n_slices=1).counts[0, 0, :-1]
            for c in (COLUMNS[feature], moved[:2_000])]
    ours, exact = ds.kolmogorov_smirnov(*both), stats.ks_2samp(COLUMNS[feature], moved[:2_000])
    assert ours.distance <= exact.statistic + 1e-12
    assert exact.statistic - ours.distance <= ours.resolution


def test_a_day_merges_from_its_hours_and_the_whole_from_regions_exactly() -> None:
    whole = counted()
    hours = np.array_split(np.random.default_rng(1).permutation(len(SLICES)), 24)
    parts = [counted([c[hour] for c in COLUMNS], SLICES[hour]) for hour in hours]
    merged = parts[0]
    for part in parts[1:]:
        merged = part.merge(merged)
    assert np.array_equal(merged.counts, whole.counts)


def test_missing_and_infinite_values_have_cells_of_their_own() -> None:
    odd = np.array([math.nan, math.inf, -math.inf, 0.0])
    found = ds.count([odd], np.zeros(4, dtype=int), GRIDS[:1], n_slices=1)
    assert (found.missing.tolist(), found.rows.tolist()) == ([[1]], [[3]])
    assert [found.counts[0, 0, i] for i in (0, ds.CELLS + 1, ds.CELLS + 2)] == [1, 1, 1]


@pytest.mark.parametrize("value", [0.0, 3.5, -1e12, 1e-300])
def test_a_constant_feature_shows_when_it_is_constant_no_more(value: float) -> None:
    constant = np.full(500, value)
    grid = ds.grid_of(constant)
    zeros = np.zeros(500, dtype=int)
    before, same, after = (ds.count([c], zeros, [grid], n_slices=1)
                           for c in (constant, constant, constant + max(1.0, abs(value)) / 10))
    edges = ds.snapped_edges(before, 0, slice_=0, bins=8)
    assert ds.drift_pass(before, same, {(0, 0): edges})[0].ks.distance == 0
    assert ds.drift_pass(before, after, {(0, 0): edges})[0].ks.distance == 1


def test_what_can_not_be_counted_or_compared_is_an_error() -> None:
    empty = ds.count([np.array([])], np.array([], dtype=int), GRIDS[:1], n_slices=1)
    other = ds.count([np.array([])], np.array([], dtype=int), GRIDS[1:2], n_slices=1)
    calls = [
        ("finite value", lambda: ds.grid_of(np.array([math.nan]))),
        ("as many columns", lambda: ds.count(COLUMNS, SLICES, GRIDS[:1], n_slices=3)),
        ("slices must be 0 to 1", lambda: ds.count(COLUMNS, SLICES, GRIDS, n_slices=2)),
        ("same grids", lambda: empty.merge(other)),
        ("has no value", lambda: ds.snapped_edges(empty, 0, slice_=0, bins=8)),
        ("missing data", lambda: ds.drift_pass(empty, empty, {(0, 0): (1,)})),
        ("missing data", lambda: ds.psi(np.array([0, 0]), np.array([1, 2]))),
        ("scale above 0", lambda: ds.Grid(0.0, 0.0)),
    ]
    for said, call in calls:
        with pytest.raises(ValueError, match=said):
            call()


# --- embeddings ---------------------------------------------------------------------------


def embeddings(rows: int, *, seed: int, push: float = 0.0) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(rows, 24))
    vectors[:, 0] += push
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


PROJECTION = ed.projection_of(embeddings(1_000, seed=0), seed=4)


def test_embedding_sums_merge_exactly_whatever_the_cut() -> None:
    vectors = embeddings(10_000, seed=1)
    whole = ed.sums(vectors, PROJECTION)
    for cuts in ([1, 9_999], [137, 4_096, 8_191], [5_000]):
        parts = [ed.sums(part, PROJECTION) for part in np.split(vectors, cuts)]
        merged = parts[-1]
        for part in parts[:-1]:
            merged = merged.merge(part)
        assert merged.rows == whole.rows
        assert np.array_equal(merged.first, whole.first)
        assert np.array_equal(merged.second, whole.second)


def test_equal_embeddings_have_even_p_values() -> None:
    p_values = []
    for i in range(300):
        pair = (ed.sums(embeddings(rows, seed=1_000 + 2 * i + side), PROJECTION)
                for side, rows in enumerate((800, 400)))
        p_values.append(ed.embedding_test(*pair)[1].p_value)
    assert stats.kstest(p_values, "uniform").pvalue > 1e-3


def test_moved_embeddings_are_seen_and_bigger_moves_are_larger() -> None:
    reference = ed.sums(embeddings(2_000, seed=1), PROJECTION)
    found = [ed.embedding_test(reference, ed.sums(embeddings(1_000, seed=2, push=push), PROJECTION))
             for push in (0.0, 0.5, 2.0)]
    assert found[0][1].p_value > 0.001
    assert found[1][1].p_value < 1e-6
    assert abs(found[0][0]) < found[1][0] < found[2][0]


def test_turned_embeddings_are_seen_although_no_coordinate_drifts() -> None:
    """Two coordinates that were the same become independent: each alone looks as before."""
    rng = np.random.default_rng(6)
    tied, free = rng.normal(size=(2_000, 1)) * np.ones(2), rng.normal(size=(2_000, 2))
    projection = ed.projection_of(tied, seed=2)
    found = ed.embedding_test(ed.sums(tied[:1_000], projection), ed.sums(free[:1_000], projection))
    assert found[1].p_value < 1e-9
    assert stats.ks_2samp(tied[:1_000, 0], free[:1_000, 0]).pvalue > 0.001


def test_embeddings_that_prove_nothing_are_errors() -> None:
    few = ed.sums(embeddings(100, seed=1), PROJECTION)
    other = ed.EmbeddingSums(1, np.zeros(2, dtype=np.int64), np.zeros((2, 2), dtype=np.int64))
    calls = [
        ("320 rows on both sides, got 100 and 100", lambda: ed.embedding_test(few, few)),
        ("320 rows or more, got 10", lambda: ed.projection_of(embeddings(10, seed=1), seed=1)),
        ("one point repeated", lambda: ed.projection_of(np.ones((400, 3)), seed=1)),
        (r"shape \(rows, 24\), got \(5, 3\)", lambda: ed.sums(np.ones((5, 3)), PROJECTION)),
        ("finite and below 32", lambda: ed.sums(np.full((5, 24), math.nan), PROJECTION)),
        ("finite and below 32", lambda: ed.sums(np.full((5, 24), 32.0), PROJECTION)),
        ("one projection", lambda: few.merge(other)),
    ]
    for said, call in calls:
        with pytest.raises(ValueError, match=said):
            call()

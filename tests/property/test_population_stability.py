"""PSI is a divergence over counts that add up."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from contracts.drift import Reference, histogram, psi

COUNTS = st.integers(min_value=0, max_value=10**7)
HISTOGRAMS = st.integers(min_value=1, max_value=12).flatmap(
    lambda bins: st.tuples(*(st.lists(COUNTS, min_size=bins, max_size=bins).filter(any) for _ in range(2))))
NUMBERS = st.floats(allow_nan=False)
EDGES = st.lists(NUMBERS, min_size=1, max_size=6, unique=True).map(sorted)


@given(HISTOGRAMS)
def test_it_is_never_negative_and_symmetric(pair: tuple[list[int], list[int]]) -> None:
    first, second = pair
    assert psi(first, second) >= 0
    assert abs(psi(first, second) - psi(second, first)) < 1e-9


@given(HISTOGRAMS)
def test_it_is_zero_for_equal_histograms(pair: tuple[list[int], list[int]]) -> None:
    assert psi(pair[0], pair[0]) == 0.0


@given(HISTOGRAMS, st.randoms())
def test_the_order_of_the_bins_does_not_matter(pair: tuple[list[int], list[int]], random: object) -> None:
    order = list(range(len(pair[0])))
    random.shuffle(order)  # type: ignore[attr-defined]
    shuffled = psi([pair[0][i] for i in order], [pair[1][i] for i in order])
    assert abs(shuffled - psi(*pair)) < 1e-9


@given(EDGES, st.lists(st.lists(NUMBERS, max_size=20), max_size=5))
def test_a_merge_of_windows_is_the_window_of_the_merged(edges: list[float], windows: list[list[float]]) -> None:
    reference = Reference(feature="f", counts=(0,) * (len(edges) + 1), edges=tuple(edges))
    together = histogram(reference, [value for window in windows for value in window])
    merged = [sum(bins) for bins in zip(*(histogram(reference, w) for w in windows), strict=True)] \
        or [0] * len(reference.counts)
    assert together == merged
    assert sum(together) == sum(map(len, windows))


@given(st.lists(st.text(max_size=3), max_size=5, unique=True), st.lists(st.text(max_size=3), max_size=30))
def test_every_category_is_counted_once_known_or_not(categories: list[str], values: list[str]) -> None:
    reference = Reference(feature="f", counts=(0,) * (len(categories) + 1), categories=tuple(categories))
    counts = histogram(reference, values)
    assert sum(counts) == len(values)
    assert counts[-1] == sum(v not in categories for v in values)

"""Population stability on histograms whose values are worked out by hand."""

from __future__ import annotations

import math

import pytest

from contracts.drift import Reference, histogram, psi

CHARS = Reference(feature="chars", counts=(1, 2, 3), edges=(10.0, 20.0))
INTENT = Reference(feature="intent", counts=(5, 5, 0), categories=("a", "b"))


def test_psi_of_two_bins_by_hand() -> None:
    # half a request in each bin: p = (9.5, 0.5)/10, q = (0.5, 9.5)/10; two equal terms of 0.9 ln 19
    assert psi([9, 0], [0, 9]) == pytest.approx(2 * 0.9 * math.log(19))


def test_equal_histograms_do_not_drift() -> None:
    assert psi([3, 4, 5], [3, 4, 5]) == 0.0


def test_an_empty_bin_in_a_small_window_is_no_alarm() -> None:
    assert psi([98, 2], [50, 0]) < 0.1


@pytest.mark.parametrize(("p", "q", "said"), [
    ([1], [1, 2], "the same bins, got 1 and 2"), ([0, 0], [1, 2], "missing data"), ([1, 2], [0, 0], "missing data"),
])
def test_what_can_not_be_compared_is_an_error(p: list[int], q: list[int], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        psi(p, q)


def test_an_edge_belongs_to_the_bin_above_it() -> None:
    assert [CHARS.bin(v) for v in (9.99, 10, 19, 20, 1e9, -5)] == [0, 1, 1, 2, 2, 0]
    assert histogram(CHARS, [1, 15, 15, 99]) == [1, 2, 1]


def test_an_unknown_category_falls_into_the_last_bin() -> None:
    assert histogram(INTENT, ["a", "c", None, "b"]) == [1, 1, 2]


@pytest.mark.parametrize(("wrong", "said"), [
    ({"counts": (1, 2), "edges": (1.0, 2.0)}, "2 edges or categories need 3 counts, got 2"),
    ({"counts": (1, 2, 3), "edges": (2.0, 1.0)}, r"edges must ascend, got \[2.0, 1.0\]"),
    ({"counts": (1, -2), "edges": (2.0,)}, r"counts must be 0 or more, got \[1, -2\]"),
])
def test_a_reference_is_checked_at_birth(wrong: dict[str, tuple[float, ...]], said: str) -> None:
    with pytest.raises(ValueError, match=f"chars: {said}"):
        Reference(feature="chars", **wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("reference", [CHARS, INTENT])
def test_a_reference_survives_its_file(reference: Reference) -> None:
    assert Reference.from_dict(reference.to_dict()) == reference  # type: ignore[arg-type]

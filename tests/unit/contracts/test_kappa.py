"""Inter-annotator agreement against values worked out by hand, a published table and scikit-learn."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from contracts.agreement import (
    Agreement,
    agreement,
    agreement_by_language,
    cohen_kappa,
    fleiss_kappa,
    kappa_by_language,
)
from contracts.datasets import LabelRow

LABEL = st.sampled_from("abcd")


def row(language: str, *annotators: str) -> LabelRow:
    return LabelRow(id="1", text="t", label="a", language=language, annotator_labels=annotators)


def test_kappa_of_the_textbook_table() -> None:
    # 20 both yes, 15 both no, 5 yes/no, 10 no/yes: observed .7, expected .5*.6 + .5*.4 = .5, kappa .4
    pairs = [("y", "y")] * 20 + [("n", "n")] * 15 + [("y", "n")] * 5 + [("n", "y")] * 10
    assert cohen_kappa(pairs) == pytest.approx(0.4)


def test_perfect_agreement_is_one_and_agreement_by_chance_is_zero() -> None:
    assert cohen_kappa([("a", "a"), ("b", "b")]) == 1.0
    assert cohen_kappa([("a", "a"), ("a", "b"), ("b", "a"), ("b", "b")]) == pytest.approx(0.0)


def test_perfect_disagreement_is_minus_one() -> None:
    assert cohen_kappa([("a", "b"), ("b", "a")]) == pytest.approx(-1.0)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(LABEL, LABEL), min_size=1, max_size=60))
def test_cohens_kappa_is_scikit_learns_wherever_that_has_one(pairs: list[tuple[str, str]]) -> None:
    if len({label for pair in pairs for label in pair}) == 1:
        assert cohen_kappa(pairs) == 1.0  # 0/0 there
        return
    first, second = zip(*pairs, strict=True)
    assert cohen_kappa(pairs) == pytest.approx(cohen_kappa_score(first, second), abs=1e-12)


# Fleiss 1971 as retold in the textbooks: 10 subjects, 14 annotators, 5 categories; kappa .210
FLEISS_TABLE = [[0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1],
                [7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7]]


def test_fleiss_kappa_of_the_published_table() -> None:
    rows = [[str(category) for category, n in enumerate(counts) for _ in range(n)] for counts in FLEISS_TABLE]
    assert fleiss_kappa(rows) == pytest.approx(0.20993, abs=5e-6)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(LABEL, LABEL), min_size=1, max_size=40))
def test_fleiss_kappa_of_two_annotators_is_scotts_pi(pairs: list[tuple[str, str]]) -> None:
    """Scott 1955: both annotators share one distribution of labels."""
    pool = [label for pair in pairs for label in pair]
    expected = sum((pool.count(label) / len(pool)) ** 2 for label in set(pool))
    observed = sum(a == b for a, b in pairs) / len(pairs)
    wanted = 1.0 if len(set(pool)) == 1 else (observed - expected) / (1 - expected)
    assert fleiss_kappa(pairs) == pytest.approx(wanted, abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.one_of(st.none(), LABEL), min_size=3, max_size=5), min_size=1, max_size=20),
       st.randoms(use_true_random=False))
def test_agreement_does_not_depend_on_the_order_of_rows_and_stays_in_its_range(
    rows: list[list[str | None]], rng: object
) -> None:
    shuffled = list(rows)
    rng.shuffle(shuffled)  # type: ignore[attr-defined]
    first, second = agreement("en", rows), agreement("en", shuffled)
    assert (first is None) == (second is None)
    if first is not None and second is not None:
        assert first.kappa == pytest.approx(second.kappa, abs=1e-12)
        assert math.isfinite(first.kappa)
        assert -1 <= first.kappa <= 1 + 1e-12


def test_one_label_only_counts_as_agreement_and_is_noted() -> None:
    assert cohen_kappa([("a", "a")] * 5) == 1.0
    assert agreement("en", [["a", "a"]] * 5) == Agreement(
        language="en", method="cohen", kappa=1.0, rows=5, annotators=2, note="one_label")
    assert agreement("en", [["a", "a", "a"]] * 2) == Agreement(
        language="en", method="fleiss", kappa=1.0, rows=2, annotators=3, note="one_label")


def test_a_single_row_has_a_kappa_and_is_noted() -> None:
    found = agreement("ja", [["a", "b"]])
    assert found == Agreement(language="ja", method="cohen", kappa=0.0, rows=1, annotators=2, note="single_row")


def test_no_pairs_are_no_kappa() -> None:
    with pytest.raises(ValueError, match="at least one pair of labels, got none"):
        cohen_kappa([])
    with pytest.raises(ValueError, match="at least one row with two labels, got none"):
        fleiss_kappa([["a"], ["b", None], []])
    assert agreement("en", [["a"], [None, "b"], []]) is None


def test_who_did_not_annotate_a_row_does_not_disagree() -> None:
    both = [["a", None, "a"], ["b", None, "b"], ["a", "b", None], ["b", None, None]]
    found = agreement("en", both)
    assert found is not None
    assert (found.method, found.rows, found.annotators) == ("fleiss", 3, 3)
    # pairs: 1, 1, 0; pool 3 a, 3 b: expected .5; (2/3 - .5) / .5
    assert found.kappa == pytest.approx(1 / 3)


def test_two_annotators_in_the_places_of_three_are_still_two() -> None:
    found = agreement("en", [["a", None, "a"], ["b", None, "b"]])
    assert found is not None
    assert (found.method, found.kappa) == ("cohen", 1.0)


def test_kappa_is_per_language_and_a_language_without_double_annotation_is_absent() -> None:
    rows = [row("en", "a", "a"), row("en", "b", "b"), row("ja", "a"), row("mixed")]
    assert kappa_by_language(rows) == {"en": 1.0}


def test_three_annotators_are_judged_together() -> None:
    rows = [row("ja", "a", "a", "a"), row("ja", "b", "b", "a"), row("ja", "a", "a", "b"), row("ja", "b", "b", "b")]
    [found] = agreement_by_language(rows).values()
    # observed (1 + 1/3 + 1/3 + 1) / 4 = 2/3; 6 a and 6 b: expected 1/2
    assert (found.method, found.kappa) == ("fleiss", pytest.approx(1 / 3))

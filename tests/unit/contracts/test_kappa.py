"""Inter-annotator agreement against values worked out by hand."""

from __future__ import annotations

import pytest

from contracts.datasets import LabelRow, cohen_kappa, kappa_by_language


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


def test_one_label_only_counts_as_agreement() -> None:
    assert cohen_kappa([("a", "a")] * 5) == 1.0


def test_no_pairs_are_no_kappa() -> None:
    with pytest.raises(ValueError, match="at least one pair of labels, got none"):
        cohen_kappa([])


def test_kappa_is_per_language_and_a_language_without_double_annotation_is_absent() -> None:
    rows = [row("en", "a", "a"), row("en", "b", "b"), row("ja", "a"), row("mixed")]
    assert kappa_by_language(rows) == {"en": 1.0}


def test_three_annotators_count_as_the_mean_of_their_three_pairs() -> None:
    # 1 and 2 agree always (1.0); each against 3: observed .5, expected .5 (0.0)
    rows = [row("ja", "a", "a", "a"), row("ja", "b", "b", "a"), row("ja", "a", "a", "b"), row("ja", "b", "b", "b")]
    assert kappa_by_language(rows) == {"ja": pytest.approx(1 / 3)}

"""Bootstrap, calibration, drift references: answers that can be worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from contracts.drift import histogram, psi
from model_code.common.bootstrap import paired, paired_family
from model_code.common.calibration import expected_calibration_error, fit_temperature, softmax
from model_code.common.drift_reference import categorical_reference, numeric_reference, references


def outcomes(*, both: int = 0, wins: int = 0, losses: int = 0, neither: int = 0) -> tuple[np.ndarray, np.ndarray]:
    candidate = [True] * both + [True] * wins + [False] * losses + [False] * neither
    champion = [True] * both + [False] * wins + [True] * losses + [False] * neither
    return np.array(candidate), np.array(champion)


def test_a_model_compared_with_itself_is_not_worse() -> None:
    found = paired(*outcomes(both=90, neither=10), seed=1)
    assert (found.delta, found.rows) == (0.0, 100)
    assert found.lower < 0 < found.upper


def test_fourteen_losses_and_no_win_are_beyond_doubt() -> None:
    found = paired(*outcomes(both=263, losses=14), seed=1)
    assert found.delta == pytest.approx(-14 / 277)
    assert found.upper < 0


def test_four_losses_and_no_win_are_not_beyond_doubt() -> None:
    """One in sixteen equal candidates with four discordant rows looks like this."""
    assert paired(*outcomes(both=273, losses=4), seed=1).upper >= 0


def test_as_many_wins_as_losses_are_no_regression_however_many() -> None:
    assert paired(*outcomes(both=100, wins=50, losses=50), seed=1).upper > 0


def test_the_same_seed_gives_the_same_interval() -> None:
    pair = outcomes(both=50, wins=3, losses=9)
    assert paired(*pair, seed=4) == paired(*pair, seed=4)


@pytest.mark.parametrize(("candidate", "champion"), [
    (np.array([1.0, math.nan]), np.array([True, True])),
    (np.array([True, True]), np.array([1, 0])),
    (np.array([True]), np.array([True, True])),
    (np.array([], dtype=bool), np.array([], dtype=bool)),
    (np.ones((2, 2), dtype=bool), np.ones((2, 2), dtype=bool)),
])
def test_only_booleans_of_the_same_rows_can_be_compared(candidate: np.ndarray, champion: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"boolean|same rows"):
        paired(candidate, champion, seed=1)


def test_the_worst_member_of_a_family_is_named_with_the_thinnest_evidence() -> None:
    family = paired_family({
        "fine": outcomes(both=80), "bad": outcomes(both=40, losses=20), "few": outcomes(both=12),
    }, seed=1)
    assert family.worst == "bad"
    assert family.interval.upper < 0
    assert family.interval.rows == 12
    assert set(family.members) == {"fine", "bad", "few"}
    assert family.to_dict()["worst"] == "bad"


def test_a_family_is_harder_to_fail_than_one_test() -> None:
    pair = outcomes(both=52, losses=8, wins=1)
    alone = paired_family({"a": pair}, seed=1)
    together = paired_family({"a": pair, **{f"x{i}": outcomes(both=60, wins=4, losses=4) for i in range(8)}}, seed=1)
    assert together.members["a"].upper > alone.members["a"].upper


def test_an_empty_family_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one member"):
        paired_family({}, seed=1)


def test_confidences_that_are_right_as_often_as_they_say_have_no_error() -> None:
    confidence = np.array([0.5] * 10 + [1.0] * 10)
    correct = np.array([True, False] * 5 + [True] * 10)
    assert expected_calibration_error(confidence, correct, bins=2) == pytest.approx(0.0)


def test_sure_and_always_wrong_is_an_error_of_one() -> None:
    assert expected_calibration_error(np.ones(7), np.zeros(7, dtype=bool)) == pytest.approx(1.0)


@pytest.mark.parametrize("confidence", [np.array([]), np.array([0.5, math.nan])])
def test_calibration_needs_finite_evidence(confidence: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"at least one|finite"):
        expected_calibration_error(confidence, np.ones(len(confidence), dtype=bool))


def test_softmax_of_equal_logits_is_uniform() -> None:
    assert softmax(np.zeros((1, 4))).tolist() == [[0.25] * 4]


def test_the_temperature_of_labels_drawn_from_scaled_logits_is_found() -> None:
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(4000, 3)) * 2
    labels = np.array([rng.choice(3, p=p) for p in softmax(logits)])
    assert fit_temperature(logits * 2.5, labels) == pytest.approx(2.5, rel=0.1)


def test_forty_right_answers_do_not_ask_for_endless_confidence() -> None:
    logits = np.tile([2.0, 0.0, 0.0], (40, 1))
    assert 0.2 < fit_temperature(logits, np.zeros(40, dtype=int)) < 1.0


def test_without_held_out_rows_the_temperature_is_one() -> None:
    assert fit_temperature(np.zeros((0, 3)), np.zeros(0, dtype=int)) == 1.0


def test_quantile_bins_hold_about_the_same_number_of_rows() -> None:
    reference = numeric_reference("chars", list(map(float, range(800))))
    assert len(reference.counts) == 8
    assert set(reference.counts) == {100}


def test_a_shift_of_a_constant_feature_shows() -> None:
    reference = numeric_reference("unknown_share", [0.0] * 300)
    assert psi(reference.counts, histogram(reference, [0.0] * 200)) < 0.02
    assert psi(reference.counts, histogram(reference, [0.0] * 100 + [0.3] * 100)) > 0.2
    assert psi(reference.counts, histogram(reference, [-1.0] * 200)) > 0.2


def test_a_new_category_falls_into_the_last_bin() -> None:
    reference = categorical_reference("intent", ["a", "b", "b", "z"], ["a", "b"])
    assert reference.counts == (1, 2, 1)


@pytest.mark.parametrize("values", [[], [1.0, math.inf]])
def test_a_reference_needs_finite_values(values: list[float]) -> None:
    with pytest.raises(ValueError, match="finite values and at least one"):
        numeric_reference("chars", values)


def test_references_cover_every_feature() -> None:
    rows: list[dict[str, object]] = [{"chars": i, "intent": "a"} for i in range(20)]
    found = references(rows, numeric=["chars"], categories={"intent": ["a"]})
    assert [(r.feature, sum(r.counts)) for r in found] == [("chars", 20), ("intent", 20)]

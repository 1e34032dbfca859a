"""The lexical model answers in numpy what scikit-learn fitted, and says nothing of what no row has shown."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import hstack
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from model_code.intent_classifier.lexical import FLOOR, KINDS, LexicalModel, fit_lexical, piece_codes
from model_code.intent_classifier.rows import read_rows
from model_code.intent_classifier.train import fused
from tests.support import tiny_model

TEXTS = ["where is my order", "order status please", "play some jazz", "play the album again", "返金 して ください",
         "返金 できますか", "where did the order go", "some jazz please"]
LABELS = [0, 0, 1, 1, 2, 2, 0, 1]
UNSEEN = ["order the album", "ｐｌａｙ JAZZ", "返金の order", "", "zzz qqq", "!"]


def by_scikit_learn(texts: list[str]) -> np.ndarray:
    vectorizers = [TfidfVectorizer(analyzer=codes, sublinear_tf=True) for codes in KINDS]
    rows = hstack([v.fit_transform(TEXTS) for v in vectorizers])
    model = LogisticRegression(C=10, max_iter=1_000).fit(rows, LABELS)
    return model.predict_log_proba(hstack([v.transform(texts) for v in vectorizers]))


def test_a_written_model_gives_the_log_probabilities_of_scikit_learn(tmp_path: Path) -> None:
    model = fit_lexical(TEXTS, LABELS, classes=3)
    assert model is not None
    model.write(tmp_path)
    found = LexicalModel.read(tmp_path).log_probabilities([*TEXTS, *UNSEEN])
    assert found == pytest.approx(by_scikit_learn([*TEXTS, *UNSEEN]), abs=2e-3)  # float16 weights


def test_the_same_rows_write_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        model = fit_lexical(TEXTS, LABELS, classes=3)
        assert model is not None
        model.write(tmp_path / name)
    first, second = ((tmp_path / name / "lexical.npz").read_bytes() for name in ("a", "b"))
    assert first == second


def test_width_and_case_make_no_difference_and_order_does() -> None:
    model = fit_lexical(TEXTS, LABELS, classes=3)
    assert model is not None
    wide, plain, turned = model.log_probabilities(["ＰＬＡＹ Some Jazz", "play some jazz", "jazz some play"])
    assert np.array_equal(wide, plain)
    assert not np.array_equal(turned, plain)


def test_a_label_without_rows_is_at_the_floor_and_two_labels_are_enough() -> None:
    model = fit_lexical(["a good book", "a bad film", "good books", "bad films"], [3, 1, 3, 1], classes=5)
    assert model is not None
    found = model.log_probabilities(["good book", "bad film"])
    assert found[:, [0, 2, 4]] == pytest.approx(np.log(FLOOR))
    assert found.argmax(axis=1).tolist() == [3, 1]
    assert np.exp(found[:, [1, 3]]).sum(axis=1) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(("texts", "labels"), [(["one label", "only"], [1, 1]), (["  ", ""], [0, 1])])
def test_without_two_labels_or_any_letters_there_is_no_lexical_model(texts: list[str], labels: list[int]) -> None:
    assert fit_lexical(texts, labels, classes=2) is None


def test_texts_without_words_of_two_letters_are_told_by_their_pieces() -> None:
    model = fit_lexical(["a a", "b b", "a", "b"], [0, 1, 0, 1], classes=2)
    assert model is not None
    assert set(model.codes.tolist()) == {code for text in ("a", "b") for code in piece_codes(text)}
    assert model.log_probabilities(["b"]).argmax() == 1


def test_the_weight_stays_only_when_held_out_rows_become_less_surprising() -> None:
    model = fit_lexical(TEXTS, LABELS, classes=3)
    assert model is not None
    unsure, right = np.zeros((len(TEXTS), 3)), 3.0 * np.eye(3)[LABELS]
    assert fused(unsure, LABELS, model, TEXTS, 0.25)[0] == 0.25
    misleading = [TEXTS[LABELS.index((label + 1) % 3)] for label in LABELS]
    assert fused(right, LABELS, model, misleading, 0.25)[0] == 0.0
    assert fused(unsure, LABELS, None, TEXTS, 0.25)[0] == 0.0


def test_a_trained_model_serves_the_sum_of_both_and_an_older_artifact_without_goes_on(tmp_path: Path) -> None:
    from model_code.intent_classifier.predictor import Predictor

    texts = [row.text for row in read_rows(tiny_model.prepared_dir() / "golden.jsonl")]
    with_it = tiny_model.train(tmp_path / "with", max_steps=3, lexical_weight=1.0)
    without = tiny_model.train(tmp_path / "without", max_steps=3, lexical_weight=0.0)
    assert (with_it / "serving" / "lexical.npz").exists()
    assert not (without / "serving" / "lexical.npz").exists()
    both, encoder = (Predictor(m / "serving").predict_many(texts) for m in (with_it, without))
    assert [p.confidence for p in both] != [p.confidence for p in encoder]
    config = without / "serving" / "config.json"
    config.write_text(config.read_text().replace('"lexical_weight": 0.0,', ""))
    again = Predictor(without / "serving").predict_many(texts)
    assert [p.confidence for p in again] == [p.confidence for p in encoder]

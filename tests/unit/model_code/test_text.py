"""Redaction, adversarial suite, pre-filter, measures: text in, decisions out; no model."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from contracts.datasets import LabelFileError, is_golden
from model_code.common import pii
from model_code.common.pii import redact
from model_code.intent_classifier import measures, prepare
from model_code.intent_classifier.adversarial import ATTACKS, make_suite
from model_code.intent_classifier.prefilter import PATTERNS, PreFilter, measured_rules, wilson_lower
from model_code.intent_classifier.rows import Example, read_meta, read_rows
from model_code.intent_classifier.serving_config import Rule
from tests.support import tiny_model


def example(number: int, text: str, label: str = "a", **changes: str) -> Example:
    return replace(Example(id=f"e{number}", text=text, label=label, language="en"), **changes)


@pytest.mark.parametrize(("text", "redacted"), [
    ("mail me at taro.yamada+x@example.co.jp please", f"mail me at {pii.EMAIL} please"),
    ("card 4111 1111 1111 1111 thanks", f"card {pii.CARD} thanks"),
    ("電話は090-1234-5678です", f"電話は{pii.PHONE}です"),
    ("電話は０９０－１２３４－５６７８です", f"電話は{pii.PHONE}です"),
    ("call +81 90 1234 5678", f"call {pii.PHONE}"),
    ("call (415) 555-2671 now", f"call {pii.PHONE} now"),
    ("order 250-1234567-7654321 is late", f"order {pii.ORDER} is late"),
    ("注文番号MG-123456が届かない", f"注文番号{pii.ORDER}が届かない"),
    ("where is 44096-8 now", f"where is {pii.ORDER} now"),
    ("〒150-0001 渋谷区", f"{pii.POSTCODE} 渋谷区"),
])
def test_personal_data_becomes_a_placeholder(text: str, redacted: str) -> None:
    assert redact(text) == redacted


@pytest.mark.parametrize("text", [
    "volumes 101 to 105", "2024-11-23 の新刊", "a table for 4 at 7 pm", "One Piece 1044", "4111 1111 1111 1112",
    "rate this book 5 of 6 points", "ISBN 9784088820118",
])
def test_ordinary_numbers_stay(text: str) -> None:
    assert redact(text) == text


def test_disguised_letters_are_read_as_what_they_look_like() -> None:
    assert redact("s\u0435nd m\u200by b\u043e\u043ek, ＰＬＥＡＳＥ") == "send my book, PLEASE"


def test_redacting_twice_changes_nothing() -> None:
    once = redact("taro@example.com 090-1234-5678 #12345678")
    assert redact(once) == once


GOLDEN = [example(i, f"could you please send volume {i} of the series today") for i in range(9)] + \
    [example(i, f"新刊の{i}巻を注文したいのですが、教えてください", language="ja") for i in range(20, 29)]


def test_the_suite_depends_on_the_seed_and_not_on_the_order_of_rows() -> None:
    assert make_suite(GOLDEN, seed=1) == make_suite(GOLDEN[::-1], seed=1)
    assert make_suite(GOLDEN, seed=1) != make_suite(GOLDEN, seed=2)


def test_every_attack_is_there_and_changes_the_text_but_not_the_label() -> None:
    suite = make_suite(GOLDEN, seed=1)
    before = {row.id: row for row in GOLDEN}
    assert {row.attack for row in suite} == set(ATTACKS)
    for row in suite:
        original = before[row.id.split(":")[0]]
        assert row.label == original.label
        assert row.text != original.text


def test_a_large_golden_set_gives_a_suite_of_limited_size() -> None:
    assert len(make_suite([example(i, "some words here") for i in range(50)], seed=1, max_rows=20)) == 20


@pytest.mark.parametrize("text", ["!!", "7", "漢字", "ok", "a b c"])
def test_no_attack_fails_on_odd_texts(text: str) -> None:
    assert len(make_suite([example(i, text) for i in range(30)], seed=3)) == 30


@pytest.mark.parametrize(("hits", "total", "lower"), [(0, 0, 0.0), (22, 22, 0.8513), (21, 21, 0.8454), (5, 10, 0.2366)])
def test_wilson_lower_bound(hits: int, total: int, lower: float) -> None:
    assert wilson_lower(hits, total) == pytest.approx(lower, abs=1e-4)


def test_a_rule_is_kept_only_when_training_rows_prove_it() -> None:
    rows = [example(i, "let me speak to a human", label="escalation") for i in range(30)]
    [rule] = measured_rules("manga14-v1", rows)
    assert (rule.intent, round(rule.confidence, 3)) == ("escalation", 0.886)
    assert measured_rules("manga14-v1", rows[:21]) == []
    assert measured_rules("manga14-v1", [*rows, *(replace(r, label="complaint") for r in rows[:5])]) == []


def test_a_label_set_without_rules_has_no_prefilter() -> None:
    assert "snips-v1" not in PATTERNS
    assert measured_rules("snips-v1", [example(1, "speak to a human")] * 40) == []


def test_two_intents_that_claim_one_text_leave_it_to_the_model() -> None:
    rules = [Rule(intent="a", pattern="x", confidence=0.9), Rule(intent="b", pattern="y", confidence=0.99),
             Rule(intent="a", pattern="x+", confidence=0.95)]
    assert PreFilter(rules).match("xy") is None
    assert PreFilter(rules).match("nothing") is None
    found = PreFilter(rules).match("XX")
    assert found is not None
    assert (found.intent, found.confidence) == ("a", 0.95)


def test_measures_of_a_confusion_worked_out_by_hand() -> None:
    truth, answers = ["a", "a", "a", "b"], ["a", "a", "b", "b"]
    found = measures.per_intent(truth, answers)
    assert found["a"] == {"rows": 3, "precision": 1.0, "recall": pytest.approx(2 / 3), "f1": pytest.approx(0.8)}
    assert found["b"] == {"rows": 1, "precision": 0.5, "recall": 1.0, "f1": pytest.approx(2 / 3)}
    assert measures.macro(found, "recall") == pytest.approx(5 / 6)


def test_slices_have_the_keys_that_the_contract_asks_for() -> None:
    rows = [example(i, "x", label="ab"[i % 2], cohort="new", daypart="peak") for i in range(4)]
    found = measures.slices(rows, ["a", "b", "a", "a"])
    assert found["language=en,cohort=new,daypart=peak"]["rows"] == 4
    assert found["language=en"]["accuracy"] == 0.75
    assert found["intent=b,language=en,cohort=new"] == {"rows": 2, "accuracy": 0.5}
    assert "macro_f1" not in found["intent=b"]


def test_rows_without_cohort_have_no_cohort_slice() -> None:
    assert set(measures.slices([example(1, "x")], ["a"])) == {"language=en", "intent=a", "intent=a,language=en"}


def test_accuracy_needs_rows() -> None:
    with pytest.raises(ValueError, match="at least one"):
        measures.accuracy([], [])


def test_prepared_rows_are_split_by_hash_redacted_and_never_on_both_sides() -> None:
    folder = tiny_model.prepared_dir()
    train, golden = read_rows(folder / "train.jsonl"), read_rows(folder / "golden.jsonl")
    meta = read_meta(folder)
    assert meta.counts == {"rows": 240, "train": len(train), "golden": len(golden), "adversarial": len(golden)}
    assert all(is_golden({"id": r.id}, meta.taxonomy.golden_share) for r in golden)
    assert not {r.text for r in train} & {r.text for r in golden}
    assert meta.taxonomy == tiny_model.TAXONOMY


def test_a_training_row_with_the_text_of_a_golden_row_is_dropped() -> None:
    inside = next(f"r{i}" for i in range(99) if is_golden({"id": f"r{i}"}, 0.5))
    outside = next(f"r{i}" for i in range(99) if not is_golden({"id": f"r{i}"}, 0.5))
    rows = [replace(example(0, "Same text"), id=inside), replace(example(0, "same TEXT"), id=outside)]
    assert prepare.split(rows, golden_share=0.5) == ([], rows[:1])


def test_a_folder_that_is_no_frozen_data_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LabelFileError, match=r"dataset\.jsonl is missing"):
        prepare.prepare(tmp_path, tmp_path / "out", seed=1)


def test_one_group_for_all_rows_cannot_be_split(tmp_path: Path) -> None:
    row = {"id": "1", "text": "x", "label": "buy", "language": "en", "group_id": "g"}
    (tmp_path / "dataset.jsonl").write_text(json.dumps(row) + "\n")
    manifest = json.loads((tiny_model.prepared_dir() / "meta.json").read_text())["freeze"]
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(LabelFileError, match="group_id"):
        prepare.prepare(tmp_path, tmp_path / "out", seed=1)


def test_missing_rows_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="written by model_code"):
        read_rows(tmp_path / "train.jsonl")

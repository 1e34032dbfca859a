"""evaluation.json holds what the gates read, and the gates can judge it."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from contracts.drift import Reference
from contracts.gates import judge, lookup
from contracts.stories.intent_classifier import GATES
from contracts.taxonomies import SNIPS_V1, slice_key
from model_code.intent_classifier import evaluate
from model_code.intent_classifier.predictor import Prediction
from model_code.intent_classifier.rows import Example
from tests.support import tiny_model
from tests.support.tiny_model import TAXONOMY


def run(output: Path, *, champion: Path, version: str, model: Path | None = None) -> dict:
    evaluate.main([
        "--prepared", str(tiny_model.prepared_dir()), "--model", str(model or tiny_model.model_dir()),
        "--champion", str(champion), "--champion-version", version, "--output", str(output),
        "--instance-type", "ml.g5.xlarge", "--region", "ap-northeast-1",
    ])
    return json.loads((output / "evaluation.json").read_text())


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> dict:
    folder = tmp_path_factory.mktemp("first")
    report = run(folder, champion=folder / "none", version="none")
    return {"report": report, "drift": json.loads((folder / "drift_reference.json").read_text())}


@pytest.fixture(scope="module")
def second(tmp_path_factory: pytest.TempPathFactory) -> dict:
    return run(tmp_path_factory.mktemp("second"), champion=tiny_model.model_dir(), version="4")


def test_every_number_that_a_gate_reads_is_there(first: dict) -> None:
    report = first["report"]
    for gate in GATES:
        if hasattr(gate, "path"):
            assert lookup(report, gate.path) is not None, gate.name
    assert {slice_key(s) for s in TAXONOMY.required_slices()} <= set(report["slices"])
    assert report["taxonomy"]["name"] == "tiny-v1"
    assert report["taxonomy"]["kind"] == "made"
    assert report["dataset"] == {"freeze_id": "f" * 16, "rows": 240, "kappa": {"en": 0.9}, "label_version_to": 3,
                                 "kind": "made", "features": "none"}
    assert report["lineage"]["seed"] == tiny_model.TINY.seed


def test_a_first_promotion_compares_with_nobody(first: dict) -> None:
    assert first["report"]["champion"] is None
    assert first["report"]["comparison"] == {}
    verdict = judge(first["report"], gates=GATES, taxonomy=TAXONOMY, champion_version=None)
    # 90 golden rows are too few for every slice: missing evidence fails, and nothing else does but the model's quality
    assert all(name.startswith(("slice_macro_f1", "macro_accuracy", "calibration_error", "serving"))
               for name in verdict.failed)


def test_a_candidate_equal_to_the_champion_is_not_worse(second: dict) -> None:
    assert second["champion"]["version"] == "4"
    assert second["champion"]["metrics"]["accuracy"] == second["metrics"]["accuracy"]
    for name in ("accuracy", "safety_critical", "adversarial"):
        found = second["comparison"][name]
        assert found["delta"] == 0.0
        assert found["lower"] < 0 < found["upper"]
    assert second["comparison"]["safety_critical"]["worst"] == "complain"


def test_the_report_holds_no_text_of_a_customer(first: dict) -> None:
    text = json.dumps(first, ensure_ascii=False)
    for row in tiny_model.rows()[:50]:
        assert str(row["text"]) not in text


def test_the_drift_reference_covers_each_language_and_feature(first: dict) -> None:
    features = first["drift"]["features"]
    assert set(features) == {"en", "ja"}
    for references in features.values():
        found = [Reference.from_dict(raw) for raw in references]
        assert {r.feature for r in found} == {*evaluate.NUMERIC_FEATURES, "intent"}
        assert len({sum(r.counts) for r in found}) == 1


def test_a_cohort_with_enough_golden_rows_has_a_drift_reference_of_its_own() -> None:
    features = dict.fromkeys(("chars", "tokens", "unknown_share", "japanese_share"), 1.0)
    rows = [Example(id=str(i), text="", label="a", language="en", cohort="new" if i < 130 else "power_user")
            for i in range(200)]
    answers = [Prediction(language="en", intent="a", confidence=0.9, source="model", features=features) for _ in rows]
    found = evaluate.drift_reference_of(SNIPS_V1, rows, answers)
    assert set(found["cohorts"]["en"]) == {"new"}
    assert {sum(r["counts"]) for r in found["cohorts"]["en"]["new"]} == {130}
    assert {sum(r["counts"]) for r in found["features"]["en"]} == {200}


def numbers(node: object) -> Iterator[float]:
    if isinstance(node, dict):
        for value in node.values():
            yield from numbers(value)
    elif isinstance(node, float):
        yield node


def test_all_numbers_are_finite(second: dict) -> None:
    found = list(numbers(second))
    assert len(found) > 50
    assert all(math.isfinite(x) for x in found)


def test_a_champion_that_is_named_but_not_there_stops_the_job(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="champion 9 was named but"):
        run(tmp_path / "out", champion=tmp_path, version="9")


def test_a_worse_candidate_is_turned_down_by_name(tmp_path: Path) -> None:
    """Two labels swapped in the served model: complaints are never understood."""
    damaged = tmp_path / "damaged"
    shutil.copytree(tiny_model.model_dir(), damaged)
    config = json.loads((damaged / "serving" / "config.json").read_text())
    config["labels"] = ["complain", "buy", "greet"]
    (damaged / "serving" / "config.json").write_text(json.dumps(config))
    report = run(tmp_path / "out", champion=tiny_model.model_dir(), version="4", model=damaged)
    verdict = judge(report, gates=GATES, taxonomy=TAXONOMY, champion_version="4")
    assert {"macro_accuracy", "champion_accuracy", "adversarial_regression"} <= set(verdict.failed)
    assert report["comparison"]["safety_critical"]["upper"] < 0


def test_a_safety_critical_intent_without_golden_rows_is_missing_evidence() -> None:
    golden = [Example(id="1", text="x", label="buy", language="en")]
    right = (np.array([True]), np.array([True]))
    assert "safety_critical" not in evaluate.comparison_of(TAXONOMY, golden, right, right)


@pytest.mark.parametrize(("p95_of_each_round", "rounds", "said"), [
    ([9.0, 5.0, 5.0], 3, 5.0),  # quiet from the second round on
    ([90.0, 60.0, 40.0, 20.0, 8.0, 7.9], 6, 7.9),  # somebody else had the machine at first
    ([30.0 - n for n in range(20)], evaluate.MAX_ROUNDS, 30.0 - evaluate.MAX_ROUNDS + 1),
])
def test_latency_is_measured_until_another_round_changes_little(
        monkeypatch: pytest.MonkeyPatch, p95_of_each_round: list[float], rounds: int, said: float) -> None:
    times = iter(p95_of_each_round)
    monkeypatch.setattr(evaluate, "_seconds_each", lambda handler, bodies: np.full(len(bodies), next(times) / 1000))
    predictor: Any = SimpleNamespace(warm_up=lambda: None, specialise=lambda: None)
    golden: Any = [SimpleNamespace(text="play a song")]
    found = evaluate.latency_of(predictor, golden, cast("Any", SimpleNamespace(story="s")))
    assert (found["rounds"], round(found["p95_ms"], 6)) == (rounds, said)

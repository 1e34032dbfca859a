"""The registry contract: a version that can't be traced back, or has no measures, is none."""

from __future__ import annotations

import math
from typing import Any

import pytest

from contracts.gates import MetricGate
from contracts.registry import RegistryContract, RegistryError
from contracts.stories import CONTRACTS
from tests.unit.lambdas.evidence import passing_report

CONTRACT = RegistryContract(metrics=("metrics.macro_f1",))


def spoilt(path: str, value: Any) -> dict[str, Any]:
    """The passing report with one value replaced."""
    report = passing_report()
    *folders, last = path.split(".")
    place: dict[str, Any] = report
    for folder in folders:
        place = place[folder]
    place[last] = value
    return report


def test_lineage_and_measures_are_text() -> None:
    assert CONTRACT.origins(passing_report()) == {
        "freeze_id": "f" * 16, "label_version_to": "7", "code_sha256": "c" * 64, "base_model_sha256": "b" * 64,
        "seed": "13", "training_usd": "3.5"}
    assert CONTRACT.measures(passing_report()) == {"metrics.macro_f1": "0.92"}


@pytest.mark.parametrize(("path", "value"), [
    ("dataset.freeze_id", " "), ("dataset.label_version_to", None), ("dataset.label_version_to", 1.5),
    ("lineage.code_sha256", "c" * 63), ("lineage.base_model_sha256", None), ("lineage.seed", -1),
    ("lineage.seed", True), ("cost.training_usd", math.nan), ("cost.training_usd", "3.5"),
])
def test_each_part_of_the_lineage_must_be_there_and_be_what_it_says(path: str, value: Any) -> None:
    with pytest.raises(RegistryError, match=rf"lacks: \w+ \({path} must be"):
        CONTRACT.origins(spoilt(path, value))


@pytest.mark.parametrize("value", [None, math.nan, math.inf, True, "0.9"])
def test_a_measure_is_a_finite_number(value: Any) -> None:
    with pytest.raises(RegistryError, match=r"metrics\.macro_f1 \(a finite number"):
        CONTRACT.measures(spoilt("metrics.macro_f1", value))


def test_one_error_names_everything_that_is_missing() -> None:
    with pytest.raises(RegistryError, match=r"freeze_id .*; label_version_to .*; seed .*; training_usd"):
        CONTRACT.origins({})


def test_every_story_registers_each_number_that_a_gate_judged() -> None:
    for story in CONTRACTS.values():
        judged = {gate.path for gate in story.gates if isinstance(gate, MetricGate)}
        assert judged
        assert judged <= set(story.registry.metrics)


def test_a_contract_without_measures_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one metric"):
        RegistryContract(metrics=())

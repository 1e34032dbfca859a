"""Gates: what passes, what fails, and that missing evidence always fails."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest

from contracts.gates import ComparisonGate, MetricGate, SliceGate, judge, lookup
from contracts.taxonomies import Taxonomy

TAXONOMY = Taxonomy(name="toy", labels=("refund", "chat"), safety_critical=("refund",), languages=("en", "ja"))
GATES = (
    MetricGate(name="f1", path="metrics.f1", at_least=0.8),
    MetricGate(name="p95", path="serving.p95_ms", at_most=15),
    SliceGate(name="slice", metric="f1", at_least=0.7, min_rows=100),
    ComparisonGate(name="accuracy", comparison="accuracy", allowed_drop=0.01, min_rows=100),
    ComparisonGate(name="safety_critical", comparison="safety_critical", allowed_drop=0.0, min_rows=20),
)


def report(champion: str | None = "3") -> dict[str, Any]:
    return {
        "metrics": {"f1": 0.9}, "serving": {"p95_ms": 6},
        "slices": {"language=en": {"rows": 120, "f1": 0.9}, "language=ja": {"rows": 120, "f1": 0.7}},
        "champion": {"version": champion} if champion else None,
        "comparison": {"accuracy": {"rows": 500, "delta": -0.005, "upper": 0.004},
                       "safety_critical": {"rows": 40, "delta": 0.0, "upper": 0.1, "worst": "refund"}},
    }


def failed(changed: dict[str, Any], champion: str | None = "3", taxonomy: Taxonomy = TAXONOMY) -> tuple[str, ...]:
    return judge(changed, gates=GATES, taxonomy=taxonomy, champion_version=champion).failed


def spoilt(path: str, value: Any) -> dict[str, Any]:
    """The good report with one value replaced; `/` separates the keys."""
    changed = copy.deepcopy(report())
    *folders, last = path.split("/")
    node = changed
    for key in folders:
        node = node[key]
    node[last] = value
    return changed


def test_a_good_report_passes_every_gate() -> None:
    verdict = judge(report(), gates=GATES, taxonomy=TAXONOMY, champion_version="3")
    assert verdict.passed
    assert [g.name for g in verdict.gates] == [
        "f1", "p95", "slice[language=en]", "slice[language=ja]", "accuracy", "safety_critical"]
    assert verdict.reasons() == ()
    assert verdict.to_dict()["gates"][0] == {
        "name": "f1", "value": 0.9, "limit": ">= 0.8", "passed": True, "reason": ""}


@pytest.mark.parametrize(("path", "value", "gate", "said"), [
    ("metrics/f1", 0.79, "f1", "f1: must be >= 0.8, got 0.79"),
    ("serving/p95_ms", 15.1, "p95", "p95: must be <= 15, got 15.1"),
    ("slices/language=ja/f1", 0.69, "slice[language=ja]", "must be >= 0.7, got 0.69"),
    ("slices/language=ja/rows", 99, "slice[language=ja]", "no evidence: 99 golden rows, needs 100"),
    ("comparison/accuracy/rows", 99, "accuracy", "no evidence: 99 paired rows, needs 100"),
    ("comparison/accuracy/upper", -0.011, "accuracy", "worse than the champion beyond doubt"),
    ("comparison/safety_critical/upper", -0.001, "safety_critical", r"at best -0.0010 \(worst: refund\)"),
    ("champion/version", "2", "champion_is_current", "the report compared with 2, but 3 serves"),
])
def test_each_shortfall_fails_its_gate_and_says_by_how_much(path: str, value: Any, gate: str, said: str) -> None:
    verdict = judge(spoilt(path, value), gates=GATES, taxonomy=TAXONOMY, champion_version="3")
    assert verdict.failed == (gate,)
    with pytest.raises(AssertionError, match=said):
        raise AssertionError(verdict.reasons()[0])


@pytest.mark.parametrize("nothing", [None, math.nan, math.inf, -math.inf, True, "0.99", [], {}, 10**400])
@pytest.mark.parametrize(("path", "gate"), [
    ("metrics/f1", "f1"), ("serving/p95_ms", "p95"), ("slices/language=en/f1", "slice[language=en]"),
    ("slices/language=en/rows", "slice[language=en]"), ("comparison/accuracy/upper", "accuracy"),
    ("comparison/accuracy/delta", "accuracy"), ("comparison/accuracy/rows", "accuracy"),
])
def test_what_is_no_finite_number_is_no_evidence(path: str, gate: str, nothing: Any) -> None:
    assert failed(spoilt(path, nothing)) == (gate,)


@pytest.mark.parametrize("broken", [None, [], "text", 3])
def test_a_part_of_the_wrong_shape_fails_its_gates_and_never_raises(broken: Any) -> None:
    assert failed(spoilt("slices", broken)) == ("slice[language=en]", "slice[language=ja]")
    assert failed(spoilt("comparison", broken)) == ("accuracy", "safety_critical")
    assert failed(spoilt("metrics", broken)) == ("f1",)
    assert failed(spoilt("champion", broken)) == ("champion_is_current",)
    assert failed(spoilt("slices/language=en", broken)) == ("slice[language=en]",)


def test_the_first_promotion_needs_no_comparison() -> None:
    first = report(champion=None)
    first["comparison"] = {}
    assert failed(first, champion=None) == ()


def test_a_first_promotion_is_not_judged_by_a_comparison_with_some_champion() -> None:
    assert failed(report("3"), champion=None) == ("champion_is_current",)


def test_a_slightly_worse_candidate_within_doubt_is_accepted() -> None:
    assert failed(spoilt("comparison/accuracy/delta", -0.02)) == ()  # its upper end is still above the limit


def test_a_taxonomy_without_safety_critical_labels_has_no_such_gate() -> None:
    calm = Taxonomy(name="calm", labels=("a", "b"), safety_critical=(), languages=("en",))
    changed = report()
    del changed["comparison"]["safety_critical"]
    assert failed(changed, taxonomy=calm) == ()


def test_no_gates_is_no_pass() -> None:
    assert not judge(report(), gates=(), taxonomy=TAXONOMY, champion_version="3").passed


def test_a_gate_with_two_limits_names_both() -> None:
    assert MetricGate(name="g", path="p", at_least=0.1, at_most=0.9).limit == ">= 0.1 and <= 0.9"


def test_a_number_is_found_by_its_dotted_path() -> None:
    assert lookup({"a": {"b": 2}}, "a.b") == 2.0
    assert lookup({"a": 1}, "a.b") is None

"""Whatever evidence is taken out of a passing report, the verdict fails."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from contracts.gates import judge
from contracts.stories.intent_classifier import GATES
from contracts.taxonomies import MANGA14_V1, SNIPS_V1, Taxonomy, slice_key

NOTHING = st.sampled_from(
    [None, math.nan, math.inf, -math.inf, True, False, "0.99", "", [], {}, [0.99], {"value": 0.99}])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3), max_leaves=10)


def passing(taxonomy: Taxonomy, champion: str | None) -> dict[str, Any]:
    paired = {"rows": 2000, "delta": 0.0, "upper": 0.01}
    return {
        "metrics": {"macro_accuracy": 0.95, "calibration_error": 0.02},
        "slices": {slice_key(s): {"rows": 120, "macro_f1": 0.85} for s in taxonomy.required_slices()},
        "champion": {"version": champion},
        "comparison": {n: dict(paired) for n in ("accuracy", "safety_critical", "adversarial")},
        "serving": {"p95_ms": 15.0, "p99_ms": 35.0}, "cost": {"training_usd": 12.0, "serving_usd_per_100k": 1.8},
    }


def evidence(node: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Path of every node of the report: the numbers and the groups that hold them."""
    for key, value in node.items():
        yield (*path, key)
        if isinstance(value, dict):
            yield from evidence(value, (*path, key))


def holder(report: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    for key in path[:-1]:
        report = report[key]
    return report


def passes(report: dict[str, Any], taxonomy: Taxonomy, champion: str | None) -> bool:
    return judge(report, gates=GATES, taxonomy=taxonomy, champion_version=champion).passed


CASES = st.sampled_from([(t, c) for t in (MANGA14_V1, SNIPS_V1) for c in ("7", None)])


@given(CASES)
def test_the_untouched_report_passes(case: tuple[Taxonomy, str | None]) -> None:
    assert passes(passing(*case), *case)


def test_taking_out_any_one_piece_of_evidence_fails_the_verdict() -> None:
    removed = 0
    for taxonomy in (MANGA14_V1, SNIPS_V1):
        for path in evidence(passing(taxonomy, "7")):
            report = passing(taxonomy, "7")
            del holder(report, path)[path[-1]]
            assert not passes(report, taxonomy, "7"), path
            removed += 1
    assert removed > 80  # 18 slices of three nodes each, and the rest


@given(st.data(), CASES, NOTHING)
def test_replacing_any_evidence_with_what_is_no_number_fails_the_verdict(
    data: st.DataObject, case: tuple[Taxonomy, str | None], nothing: object
) -> None:
    taxonomy, champion = case
    report = passing(taxonomy, champion)
    if champion is None:  # without a champion the comparison is no evidence, and the version is rightly null
        del report["comparison"], report["champion"]
    path = data.draw(st.sampled_from(sorted(evidence(report))))
    holder(report, path)[path[-1]] = nothing
    assert not passes(report, taxonomy, champion)


@given(CASES, JSON)
def test_arbitrary_json_neither_passes_nor_raises(case: tuple[Taxonomy, str | None], junk: Any) -> None:
    report = junk if isinstance(junk, dict) else {"metrics": junk, "slices": junk, "comparison": junk, "champion": junk}
    assert not passes(report, *case)


@given(st.data(), st.integers(min_value=0, max_value=119))
def test_too_few_rows_in_any_required_slice_fail_the_verdict(data: st.DataObject, rows: int) -> None:
    report = passing(MANGA14_V1, "7")
    key = data.draw(st.sampled_from(sorted(report["slices"])))
    report["slices"][key]["rows"] = rows
    assert not passes(report, MANGA14_V1, "7")


@given(st.text(max_size=5).filter(lambda version: version != "7"))
@example("None")
def test_a_comparison_with_any_other_champion_fails_the_verdict(version: str) -> None:
    assert not passes(passing(MANGA14_V1, version), MANGA14_V1, "7")
    assert not passes(passing(MANGA14_V1, version), MANGA14_V1, None)


@given(CASES)
def test_judging_changes_nothing_in_the_report(case: tuple[Taxonomy, str | None]) -> None:
    report = passing(*case)
    before = copy.deepcopy(report)
    passes(report, *case)
    assert report == before

"""The audit of a join: honest joins pass, planted violations are found, each with its reason."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pyarrow as pa
import pytest

from model_code.common.point_in_time import join
from model_code.common.point_in_time_audit import AuditReport, audit
from tests.support.point_in_time_cases import CASES, NAN, TTL, Case, definition, feature_table, label_table

FEATURES = [("a", 0, 1, 1.0), ("a", 10, 11, 2.0), ("a", 20, 40, 3.0), ("a", 30, 31, NAN), ("b", -60, 0, 9.0)]
LABELS = [("a", 25), ("b", 5), ("c", 5), (None, 5), ("a", 35)]


def planted(row: int, event: float, ingestion: float, value: float) -> AuditReport:
    """The audit of a right join in which one row was replaced by another."""
    joined = join(label_table(LABELS), feature_table(FEATURES), definition(TTL)).to_pylist()
    other = feature_table([("a", event, ingestion, value)]).to_pylist()[0]
    joined[row] |= {name: other[name] for name in definition().joined_columns}
    return audit(pa.Table.from_pylist(joined), feature_table(FEATURES), definition(TTL))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_the_join_gives_passes(case: Case) -> None:
    features = feature_table(case.features)
    report = audit(join(label_table(case.labels), features, definition(case.ttl)), features, definition(case.ttl))
    assert report.violations == ()
    assert report.passed == (len(case.labels) > 0)
    assert report.matched == sum(answer is not None for answer in case.answers)


@pytest.mark.parametrize(("row", "other", "reasons"), [
    (0, (30, 31, NAN), {"future_event": 1, "late_ingestion": 1}),
    (0, (20, 40, 3.0), {"late_ingestion": 1}),
    (0, (0, 1, 1.0), {"not_newest": 1}),
    (1, (-60, 0, 9.0), {"expired": 1}),
    (0, (10, 11, 7.0), {"unknown_row": 1}),
    (2, (0, 1, 1.0), {"unknown_row": 1}),
    (0, (10, 12, 2.0), {"unknown_row": 1}),
])
def test_a_planted_violation_is_found_with_its_reason(row: int, other: Any, reasons: dict[str, int]) -> None:
    report = planted(row, *other)
    assert report.reasons() == reasons
    assert {v.row for v in report.violations} == {row}
    assert not report.passed


def test_a_label_left_empty_though_a_row_was_known_is_found() -> None:
    right = join(label_table(LABELS), feature_table(FEATURES), definition(TTL))
    names = right.column_names
    emptied = right.slice(0, 1).select(names[:3])
    for name in names[3:]:
        emptied = emptied.append_column(name, pa.nulls(1, right[name].type))
    report = audit(pa.concat_tables([emptied, right.slice(1)]), feature_table(FEATURES), definition(TTL))
    assert [(v.row, v.entity, v.reason) for v in report.violations] == [(0, "a", "missed")]


def test_a_detail_holds_times_and_no_feature_values() -> None:
    details = [v.detail for v in planted(0, 20, 40, 3.0).violations]
    assert details == ["joined at 2026-03-01 12:25:00+00:00, ingested 2026-03-01 12:40:00+00:00"]


def test_feature_rows_that_came_after_the_join_accuse_nobody() -> None:
    joined = join(label_table(LABELS), feature_table(FEATURES), definition(TTL))
    later = feature_table([*FEATURES, ("a", 24, 90, 8.0), ("c", 1, 90, 8.0)])
    assert audit(joined, later, definition(TTL)).passed


def test_the_sample_is_drawn_by_the_seed_and_all_rows_are_told() -> None:
    features = feature_table([("a", 0, 0, 1.0)])
    joined = join(label_table([("a", i) for i in range(50)]), features, definition())
    spoilt = joined.set_column(joined.column_names.index("value"), "value", pa.array([2.0] * 50))

    def rows(seed: int) -> list[int]:
        report = audit(spoilt, features, definition(), sample=5, seed=seed)
        assert (report.rows, report.sampled, report.matched) == (50, 5, 5)
        return [v.row for v in report.violations]

    assert rows(1) == rows(1)
    assert len(rows(1)) == 5
    assert rows(1) != rows(2)
    assert len(audit(spoilt, features, definition(), sample=500).violations) == 50


def test_what_can_not_be_audited_is_refused() -> None:
    features = feature_table([("a", 0, 0, 1.0)])
    joined = join(label_table([("a", 1)]), features, definition(timedelta(1)))
    with pytest.raises(ValueError, match=r"missing in the joined table: \['value'\]"):
        audit(joined.drop_columns("value"), features, definition())
    with pytest.raises(ValueError, match="got sample 0"):
        audit(joined, features, definition(), sample=0)
    naive = joined.set_column(2, "asked_at", joined["asked_at"].cast(pa.timestamp("us")))
    with pytest.raises(ValueError, match="joined: column 'asked_at' must be a time with a zone"):
        audit(naive, features, definition())

"""Golden cases of the point-in-time join, with answers worked out by hand; every engine must give these.

Times are minutes after noon UTC on 1 March 2026, unless a case is about something else. A feature row is
(entity, event, ingestion, value) or (..., value, note); a label (entity, time); an answer the value or None.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.compute as pc

from model_code.common.point_in_time_definition import PointInTime

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
TOKYO, NEW_YORK = ZoneInfo("Asia/Tokyo"), ZoneInfo("America/New_York")
TTL = timedelta(minutes=30)
NAN = float("nan")

INSTANT = pa.timestamp("us", "UTC")
LABELS = pa.schema([("label_id", pa.int64()), ("user", pa.string()), ("asked_at", INSTANT)])
FEATURES = pa.schema([("user", pa.string()), ("happened_at", INSTANT), ("arrived_at", INSTANT),
                      ("value", pa.float64()), ("note", pa.string())])


def definition(ttl: timedelta | None = None) -> PointInTime:
    return PointInTime(entity="user", label_time="asked_at", event_time="happened_at", ingestion_time="arrived_at",
                       features=("value", "note"), ttl=ttl)


def at(when: float | datetime) -> datetime:
    return when if isinstance(when, datetime) else NOON + timedelta(minutes=when)


def label_table(labels: list[Any]) -> pa.Table:
    rows = [{"label_id": i, "user": user, "asked_at": at(when)} for i, (user, when) in enumerate(labels)]
    return pa.Table.from_pylist(rows, schema=LABELS)


def feature_table(features: list[Any]) -> pa.Table:
    rows = [{"user": user, "happened_at": at(event), "arrived_at": at(ingestion), "value": value,
             "note": note[0] if note else None} for user, event, ingestion, value, *note in features]
    return pa.Table.from_pylist(rows, schema=FEATURES)


@dataclass(frozen=True, kw_only=True)
class Case:
    name: str
    features: list[Any]
    labels: list[Any]
    answers: list[float | None]
    ttl: timedelta | None = None


CASES = (
    Case(name="a row of the future is not seen",
         features=[("a", 0, 0, 1.0), ("a", 10, 10, 2.0)], labels=[("a", 9), ("a", 11)], answers=[1.0, 2.0]),
    Case(name="a row from this very moment is seen",
         features=[("a", 0, 0, 1.0), ("a", 10, 10, 2.0)], labels=[("a", 10)], answers=[2.0]),
    Case(name="a microsecond early is too early",
         features=[("a", 10, 10, 1.0)], labels=[("a", NOON + timedelta(minutes=10, microseconds=-1))], answers=[None]),
    Case(name="arrival at this very moment counts, a microsecond later does not",
         features=[("a", 0, 10, 1.0)],
         labels=[("a", 10), ("a", NOON + timedelta(minutes=10, microseconds=-1))], answers=[1.0, None]),
    Case(name="the newest row is late, so the older known one stands in",
         features=[("a", 0, 1, 1.0), ("a", 10, 60, 2.0)], labels=[("a", 20), ("a", 60)], answers=[1.0, 2.0]),
    Case(name="a late row never displaces a newer one",
         features=[("a", 0, 50, 1.0), ("a", 10, 11, 2.0)], labels=[("a", 20), ("a", 55)], answers=[2.0, 2.0]),
    Case(name="several late rows: the newest of those that had arrived",
         features=[("a", 40, 100, 4.0), ("a", 30, 70, 3.0), ("a", 20, 80, 2.0), ("a", 10, 12, 1.0)],
         labels=[("a", 50), ("a", 75), ("a", 90), ("a", 120)], answers=[1.0, 3.0, 3.0, 4.0]),
    Case(name="a backfill in ascending order after a newer row changes nothing",
         features=[("a", 50, 50, 9.0), *(("a", i, 60 + i, float(i)) for i in range(8))],
         labels=[("a", 55), ("a", 90)], answers=[9.0, 9.0]),
    Case(name="arrived before it happened: known when it has happened",
         features=[("a", 10, 0, 1.0)], labels=[("a", 5), ("a", 10)], answers=[None, 1.0]),
    Case(name="equal event times: the one ingested last, once it is there",
         features=[("a", 0, 9, 2.0), ("a", 0, 5, 1.0)], labels=[("a", 4), ("a", 7), ("a", 9)],
         answers=[None, 1.0, 2.0]),
    Case(name="equal event times, both ingested before the event",
         features=[("a", 10, 2, 1.0), ("a", 10, 1, 2.0)], labels=[("a", 10)], answers=[1.0]),
    Case(name="known at the same moment: the newest event wins, not the last row",
         features=[("a", 9, 20, 2.0), ("a", 1, 20, 1.0)], labels=[("a", 20)], answers=[2.0]),
    Case(name="equal in both times: the greatest values, null least and NaN greatest",
         features=[("a", 0, 0, 1.0), ("a", 0, 0, 3.0), ("a", 0, 0, None), ("a", 0, 0, 2.0),
                   ("b", 0, 0, NAN), ("b", 0, 0, 5.0), ("c", 0, 0, None), ("c", 0, 0, -5.0)],
         labels=[("a", 1), ("b", 1), ("c", 1)], answers=[3.0, NAN, -5.0]),
    Case(name="exact duplicates are one answer, not two rows",
         features=[("a", 0, 0, 1.0)] * 3, labels=[("a", 1), ("a", 1)], answers=[1.0, 1.0]),
    Case(name="a missing entity, a null entity and a null one among the features",
         features=[("a", 0, 0, 1.0), (None, 0, 0, 2.0)], labels=[("b", 1), (None, 1), ("a", 1)],
         answers=[None, None, 1.0]),
    Case(name="entities do not see each other",
         features=[("a", 0, 0, 1.0), ("b", 5, 5, 2.0), ("B", 6, 6, 3.0)],
         labels=[("b", 1), ("a", 9), ("b", 9)], answers=[None, 1.0, 2.0]),
    Case(name="labels out of order stay in their places",
         features=[("a", i, i, float(i)) for i in (3, 1, 2)], labels=[("a", t) for t in (3, 1, 2, 0, 3)],
         answers=[3.0, 1.0, 2.0, None, 3.0]),
    Case(name="zones are converted, summer time included",
         features=[("a", datetime(2026, 3, 1, 21, 10, tzinfo=TOKYO), datetime(2026, 3, 1, 7, 10, tzinfo=NEW_YORK), 1.0),
                   ("b", datetime(2026, 11, 1, 1, 30, tzinfo=NEW_YORK, fold=0), 0, 1.0),
                   ("b", datetime(2026, 11, 1, 1, 30, tzinfo=NEW_YORK, fold=1), 0, 2.0)],
         labels=[("a", 9), ("a", datetime(2026, 3, 1, 14, 10, tzinfo=timezone(timedelta(hours=2)))),
                 ("b", datetime(2026, 11, 1, 6, 29, tzinfo=UTC)), ("b", datetime(2026, 11, 1, 6, 30, tzinfo=UTC))],
         answers=[None, 1.0, 1.0, 2.0]),
    Case(name="ages apart",
         features=[("a", datetime(1, 1, 1, tzinfo=UTC), datetime(1, 1, 1, tzinfo=UTC), 1.0),
                   ("a", 0, datetime(9999, 12, 31, tzinfo=UTC), 2.0), ("b", -1, 0, 3.0)],
         labels=[("a", 1), ("b", 1), ("a", datetime(9999, 12, 31, tzinfo=UTC))], answers=[1.0, 3.0, 2.0]),
    Case(name="the far future of one entity does not spill over into the next",
         features=[("a", 2, 2, 1.0), ("a", 5, 5, 4.0), ("b", 0, 0, 2.0)], labels=[("a", 1), ("b", 1)],
         answers=[None, 2.0]),
    Case(name="exactly as old as allowed is joined, a microsecond older is not",
         features=[("a", 0, 0, 1.0)], ttl=TTL,
         labels=[("a", 30), ("a", NOON + TTL + timedelta(microseconds=1))], answers=[1.0, None]),
    Case(name="age counts from the event, not from its arrival",
         features=[("a", 0, 29, 1.0)], labels=[("a", 29), ("a", 31)], answers=[1.0, None], ttl=TTL),
    Case(name="an older row never stands in for an expired one, and a late fresh row ends the gap",
         features=[("a", 0, 0, 1.0), ("a", 5, 6, 2.0), ("a", 20, 45, 3.0)], ttl=TTL,
         labels=[("a", 40), ("a", 45), ("a", 51)], answers=[None, 3.0, None]),
    Case(name="no feature rows at all", features=[], labels=[("a", 1), (None, 1)], answers=[None, None]),
    Case(name="no labels", features=[("a", 0, 0, 1.0)], labels=[], answers=[]),
    Case(name="nothing at all", features=[], labels=[], answers=[], ttl=TTL),
)


def golden_tables(cases: Sequence[Case]) -> tuple[pa.Table, pa.Table]:
    """Labels and feature rows of all these cases; each has entities of its own, so one run holds them."""
    def named(column: int, rows: list[Any], case: Case) -> list[Any]:
        return [(*row[:column], None if row[column] is None else f"{case.name}: {row[column]}", *row[column + 1:])
                for row in rows]

    return (label_table([row for case in cases for row in named(0, case.labels, case)]),
            feature_table([row for case in cases for row in named(0, case.features, case)]))


def same_rows(found: pa.Table, wanted: pa.Table) -> None:
    """Fails at the first column that differs in name, type or value."""
    assert found.column_names == wanted.column_names
    for name in wanted.column_names:
        ours, theirs = found[name], wanted[name]
        assert ours.type == theirs.type
        if pa.types.is_floating(ours.type):  # Arrow's NaN equals nothing
            ours, theirs = (pc.if_else(pc.is_nan(column), 1e99, column) for column in (ours, theirs))
        assert ours.equals(theirs), name


def golden_answers(joined: pa.Table, cases: Sequence[Case]) -> None:
    """Fails at the first case whose labels did not get the answers that were worked out by hand."""
    found, place = joined["value"].to_pylist(), 0
    for case in cases:
        answers = found[place : place + len(case.labels)]
        assert repr(answers) == repr(case.answers), case.name
        place += len(case.labels)

"""Proof that no row of a joined table saw the future, drawn from the raw feature rows.

It shares nothing with the join but the definition: for each sampled row it walks through every feature row of the
entity, one by one, in plain Python. So it is slow (about 200,000 feature rows a second) and meant for samples.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from model_code.common.point_in_time_definition import PointInTime, naive_time

# What can be wrong with a joined row. One row may break several rules.
FUTURE_EVENT = "future_event"  # it had not happened at the label's time
LATE_INGESTION = "late_ingestion"  # it had not arrived at the label's time
EXPIRED = "expired"  # it was older than the time to live
UNKNOWN_ROW = "unknown_row"  # the feature table has no such row
NOT_NEWEST = "not_newest"  # a newer row was known at the label's time
MISSED = "missed"  # nothing was joined, though a live row was known

Row = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Violation:
    row: int  # place in the joined table, from 0
    entity: object
    reason: str
    detail: str  # times only, no feature values


@dataclass(frozen=True, kw_only=True)
class AuditReport:
    rows: int
    sampled: int
    matched: int  # of the sampled rows, those with a feature row
    violations: tuple[Violation, ...]

    @property
    def passed(self) -> bool:
        """No violation; and an audit that looked at nothing proves nothing."""
        return self.sampled > 0 and not self.violations

    def reasons(self) -> dict[str, int]:
        return dict(sorted(Counter(v.reason for v in self.violations).items()))


def audit(
    joined: pa.Table, features: pa.Table, definition: PointInTime, *, sample: int = 1_000, seed: int = 0,
) -> AuditReport:
    """Judge `sample` rows of `joined` (all, if it has no more), drawn by `seed`.

    Of feature rows that are equal in both times either is accepted: none of them is the future.

    Parameters
    ----------
    joined : what a join by `definition` gave, from either engine
    features : the raw feature rows, unchanged since the join, or more of them (their ingestion time tells)

    Raises
    ------
    ValueError
        A column is missing, a time has no zone, or `sample` is not positive.
    """
    needed = {definition.entity, definition.label_time, *definition.joined_columns}
    missing = sorted(needed - set(joined.column_names)), sorted(set(definition.feature_columns) -
                                                                set(features.column_names))
    if any(missing) or sample < 1:
        raise ValueError(f"an audit needs all columns of the definition and a sample of 1 row or more, got "
                         f"sample {sample}; missing in the joined table: {missing[0]}, in the features: {missing[1]}")
    joined = _in_utc(joined, "joined", (definition.label_time, definition.event_time, definition.ingestion_time))
    features = _in_utc(features, "features", (definition.event_time, definition.ingestion_time))
    chosen = sorted(random.Random(seed).sample(range(joined.num_rows), min(sample, joined.num_rows)))
    rows = joined.take(pa.array(chosen, pa.int64())).to_pylist()
    raw = _rows_of_entities(features, definition, {row[definition.entity] for row in rows} - {None})
    violations = [
        Violation(row=place, entity=row[definition.entity], reason=reason, detail=detail)
        for place, row in zip(chosen, rows, strict=True)
        for reason, detail in _broken(row, raw.get(row[definition.entity], []), definition)
    ]
    return AuditReport(rows=joined.num_rows, sampled=len(rows), violations=tuple(violations),
                       matched=sum(row[definition.event_time] is not None for row in rows))


def _in_utc(table: pa.Table, side: str, names: tuple[str, ...]) -> pa.Table:
    for name in names:
        kind = table[name].type
        if not pa.types.is_timestamp(kind) or kind.tz is None:
            raise naive_time(side, name, kind)
        place = table.column_names.index(name)
        table = table.set_column(place, name, table[name].cast(pa.timestamp("us", "UTC")))
    return table


def _rows_of_entities(features: pa.Table, definition: PointInTime, entities: set[object]) -> dict[object, list[Row]]:
    given = features[definition.entity]
    kind = pa.int64() if pa.types.is_integer(given.type) else pa.large_string()
    wanted = pa.array(sorted(entities, key=str), kind)
    asked = features.select(definition.feature_columns).filter(pc.is_in(given.cast(kind), value_set=wanted))
    found: dict[object, list[Row]] = defaultdict(list)
    for row in asked.to_pylist():
        found[row[definition.entity]].append(row)
    return found


def _broken(row: Row, raw: list[Row], definition: PointInTime) -> Iterator[tuple[str, str]]:
    """(reason, detail) of each rule that the joined row breaks."""
    now: datetime = row[definition.label_time]
    event, ingestion = row[definition.event_time], row[definition.ingestion_time]
    times = [(r[definition.event_time], r[definition.ingestion_time]) for r in raw]
    newest = max((both for both in times if None not in both and max(both) <= now), default=None)
    if event is None:
        if newest is not None and not _expired(newest[0], now, definition):
            yield MISSED, f"at {now} the row of {newest[0]}, ingested {newest[1]}, was known, and nothing was joined"
        return
    if event > now:
        yield FUTURE_EVENT, f"joined at {now}, happened {event}"
    if ingestion is None or ingestion > now:
        yield LATE_INGESTION, f"joined at {now}, ingested {ingestion}"
    if _expired(event, now, definition):
        yield EXPIRED, f"joined at {now}, happened {event}: older than {definition.ttl}"
    if not any(all(_equal(row[name], r[name]) for name in definition.joined_columns) for r in raw):
        yield UNKNOWN_ROW, f"no feature row of this entity with these values happened {event}, ingested {ingestion}"
    elif newest is not None and ingestion is not None and (event, ingestion) < newest:
        yield NOT_NEWEST, f"joined at {now}, happened {event}; known was {newest[0]}, ingested {newest[1]}"


def _expired(event: datetime, now: datetime, definition: PointInTime) -> bool:
    return definition.ttl is not None and now - event > definition.ttl


def _equal(a: Any, b: Any) -> bool:
    return bool(a == b) or (a != a and b != b)  # NaN was joined as NaN

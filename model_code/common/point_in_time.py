"""The point-in-time join on one machine: Arrow tables in, an Arrow table out. What it means: point_in_time_definition.

Two facts make it one sort. A row is known from max(event time, ingestion time) on, so "happened and arrived" is one
bound. And in the order of (entity, known from), a row whose event time is below one before it will never be an
answer: drop those, and the last row left at or before a label is the newest known one, however late rows came.

Labels and feature rows are sorted together as 64-bit numbers: entity, known-from in as many bits as are free, row
number. numpy sorts such numbers twice as fast as an index. Rows that the lost bits could not tell apart, and
true ties, are put in order afterwards by all that the definition compares; few rows in the usual case, and the result
is the same when it is all of them. Peak memory is about 25 bytes a row beside the tables.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from model_code.common.point_in_time_definition import PointInTime, entity_types, naive_time, null_time

__all__ = ["PointInTime", "join", "matches"]

INSTANT = pa.timestamp("us", "UTC")
YEARS_US = (-62_135_596_800_000_000, 253_402_300_799_999_999)  # 0001 to 9999, as datetime and Spark have them
KEY_BITS = 64
BLOCK_ROWS = 1 << 18  # what is worked on at a time stays in the processor's cache


def join(labels: pa.Table, features: pa.Table, definition: PointInTime) -> pa.Table:
    """Each label row, in its place, with the feature row that was newest and known at its time.

    Raises
    ------
    ValueError
        A column is missing, of the wrong type, without a zone, has null times, or a name would be there twice.
    """
    found = matches(labels, features, definition)
    row = pa.array(found, mask=found < 0)
    at = labels.column_names.index(definition.label_time)
    joined = labels.set_column(at, definition.label_time, labels[definition.label_time].cast(INSTANT))
    for name in definition.joined_columns:
        column = features[name]
        if name in (definition.event_time, definition.ingestion_time):
            column = column.cast(INSTANT)
        joined = joined.append_column(name, column.take(row))
    return joined


def matches(labels: pa.Table, features: pa.Table, definition: PointInTime) -> np.ndarray:
    """The feature row of each label, shape (labels,), int64; -1 where nothing is joined."""
    definition.check_columns(labels.column_names, features.column_names)
    for name in definition.features:
        if pa.types.is_nested(features[name].type):
            raise ValueError(f"features: column {name!r} must hold single values, got {features[name].type}")
    rows = _Rows.read(labels, features, definition)
    found = np.full(labels.num_rows, -1, np.int64)
    if labels.num_rows and features.num_rows:
        keys = _Keys.of(rows)
        for block in keys.blocks():
            keys.match(block, found)
    if definition.ttl_us is not None:
        age = rows.label_time - rows.event.take(found, mode="clip") if len(rows.event) else found
        found[age > definition.ttl_us] = -1
    return found


@dataclass(frozen=True, kw_only=True)
class _Rows:
    """The columns as numbers; times in microseconds since 1970, entities by their place among those of the labels."""

    label_entity: np.ndarray  # int32, -1: null
    label_time: np.ndarray
    feature_entity: np.ndarray  # int32, -1: no label asks for it
    event: np.ndarray
    ingestion: np.ndarray
    entities: int
    values: pa.Table

    @classmethod
    def read(cls, labels: pa.Table, features: pa.Table, definition: PointInTime) -> _Rows:
        ours, theirs = _same_type(definition.entity, _plain(labels[definition.entity]),
                                  _plain(features[definition.entity]))
        known = pc.unique(ours).drop_null()
        return cls(
            label_entity=_codes(ours, known), feature_entity=_codes(theirs, known),
            label_time=_micros(labels, "labels", definition.label_time),
            event=_micros(features, "features", definition.event_time),
            ingestion=_micros(features, "features", definition.ingestion_time),
            entities=len(known), values=features.select(definition.features),
        )

    def known_from(self, row: np.ndarray | slice) -> np.ndarray:
        return np.maximum(self.event[row], self.ingestion[row])


@dataclass(frozen=True, kw_only=True)
class _Keys:
    """All rows in the order of (entity, known from); labels are numbered after the feature rows."""

    rows: _Rows
    order: np.ndarray  # uint64, sorted
    entity_shift: int
    row_bits: int
    first_event: int
    event_span: int

    @classmethod
    def of(cls, rows: _Rows) -> _Keys:
        features, labels = len(rows.event), len(rows.label_time)
        row_bits, entity_bits = (features + labels).bit_length(), rows.entities.bit_length()
        time_bits = max(0, KEY_BITS - row_bits - entity_bits)
        last = int(rows.label_time.max())
        first = min(int(rows.label_time.min()), max(int(rows.event.min()), int(rows.ingestion.min())))
        lost = max(0, (last - first).bit_length() - time_bits)
        entity_shift = row_bits + time_bits

        def packed(entity: np.ndarray, time: np.ndarray, start: int) -> np.ndarray:
            asked = (entity >= 0) & (time <= last)
            number = np.flatnonzero(asked).astype(np.uint64) + np.uint64(start)
            coarse = ((time[asked] - first) >> lost).astype(np.uint64) << np.uint64(row_bits)
            return (entity[asked].astype(np.uint64) << np.uint64(entity_shift)) | coarse | number

        order, filled = np.empty(features + labels, np.uint64), 0
        for start in range(0, features, BLOCK_ROWS):
            part = slice(start, start + BLOCK_ROWS)
            keys = packed(rows.feature_entity[part], rows.known_from(part), start)
            order[filled : filled + len(keys)] = keys
            filled += len(keys)
        keys = packed(rows.label_entity, rows.label_time, features)
        order[filled : filled + len(keys)] = keys
        order = order[: filled + len(keys)]
        order.sort()
        first_event = int(rows.event.min())
        return cls(rows=rows, order=order, entity_shift=entity_shift, row_bits=row_bits, first_event=first_event,
                   event_span=int(rows.event.max()) - first_event + 1)

    def blocks(self) -> Iterator[slice]:
        """Whole entities, about BLOCK_ROWS rows, and no more entities than `match` can tell apart in 63 bits."""
        most = max(1, (2**63 - 1) // self.event_span)
        start = 0
        while start < len(self.order):
            first = int(self.order[start]) >> self.entity_shift
            last = int(self.order[min(start + BLOCK_ROWS, len(self.order)) - 1]) >> self.entity_shift
            beyond = min(last, first + most - 1) + 1
            stop = int(np.searchsorted(self.order, np.uint64(beyond << self.entity_shift))) \
                if beyond < self.rows.entities else len(self.order)
            yield slice(start, stop)
            start = stop

    def match(self, block: slice, found: np.ndarray) -> None:
        """Write the matches of the block's labels into `found`."""
        rows, features = self.rows, len(self.rows.event)
        keys = self.order[block]
        row = (keys & np.uint64((1 << self.row_bits) - 1)).astype(np.int64)
        self._settle_ties(keys >> np.uint64(self.row_bits), row)
        entity = (keys >> np.uint64(self.entity_shift)).astype(np.int64)  # ties have the same, so it needs no settling
        is_feature = row < features
        event = rows.event.take(row, mode="clip") - self.first_event
        event[~is_feature] = 0
        event += (entity - entity[0]) * self.event_span  # an entity's times all lie above those of the one before
        answers = is_feature & (event == np.maximum.accumulate(event))
        latest = np.maximum.accumulate(np.where(answers, np.arange(len(row)), -1))
        label = np.flatnonzero(~is_feature)
        answer = latest[label]
        good = (answer >= 0) & (entity[answer] == entity[label])
        found[row[label[good]] - features] = row[answer[good]]

    def _settle_ties(self, head: np.ndarray, row: np.ndarray) -> None:
        """Order `row` within each run of equal `head` by all that the definition compares; a label goes last."""
        tied = _in_runs(head[1:] == head[:-1])
        if not len(tied):
            return
        rows, features = self.rows, len(self.rows.event)
        some = row[tied]
        is_label = some >= features
        event, ingestion = (column.take(some, mode="clip") for column in (rows.event, rows.ingestion))
        known = np.maximum(event, ingestion)
        known[is_label] = rows.label_time[some[is_label] - features]
        event[is_label] = ingestion[is_label] = 0
        keys = [ingestion, event, is_label, known, head[tied]]
        by = np.lexsort(keys)
        row[tied] = some[by]
        alike = np.logical_and.reduce([key[by][1:] == key[by][:-1] for key in keys]) & ~is_label[by][1:]
        still = _in_runs(alike)
        if len(still):
            run = np.cumsum(np.concatenate([[True], ~alike]))[still]
            places = tied[still]
            row[places] = row[places][np.lexsort([*_last_resort(rows.values.take(row[places])), run])]


def _in_runs(same_as_before: np.ndarray) -> np.ndarray:
    """Positions of the elements that equal a neighbour, from whether each but the first equals the one before."""
    member = np.zeros(len(same_as_before) + 1, bool)
    member[1:] |= same_as_before
    member[:-1] |= same_as_before
    return np.flatnonzero(member)


def _last_resort(values: pa.Table) -> list[np.ndarray]:
    """Keys for lexsort, the least of them first: feature values, null < numbers < NaN."""
    keys: list[np.ndarray] = []
    for name in reversed(values.column_names):
        column = _plain(values[name])
        there = column.is_valid().to_numpy(zero_copy_only=False)
        key = np.zeros(len(column))
        if pa.types.is_floating(column.type):  # numpy puts NaN last, as asked; Arrow's rank would not
            key[there] = column.drop_null().to_numpy()
        elif there.any():
            key[there] = pc.rank(column.drop_null(), tiebreaker="dense").to_numpy()
        keys += [key, there]
    return keys


def _plain(column: pa.ChunkedArray) -> pa.Array:
    """One piece, and no dictionary."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)


def _same_type(entity: str, ours: pa.Array, theirs: pa.Array) -> tuple[pa.Array, pa.Array]:
    kinds = ours.type, theirs.type
    if all(map(pa.types.is_integer, kinds)):
        common = pa.int64()
    elif all(pa.types.is_string(kind) or pa.types.is_large_string(kind) for kind in kinds):
        common = pa.large_string()
    else:
        raise entity_types(entity, *kinds)
    return (ours, theirs) if kinds[0] == kinds[1] else (ours.cast(common), theirs.cast(common))


def _codes(column: pa.Array, known: pa.Array) -> np.ndarray:
    return pc.index_in(column, value_set=known).fill_null(-1).to_numpy()


def _micros(table: pa.Table, side: str, name: str) -> np.ndarray:
    column = table[name]
    if not pa.types.is_timestamp(column.type) or column.type.tz is None:
        raise naive_time(side, name, column.type)
    if column.null_count:
        raise ValueError(null_time(side, name))
    micros = _plain(column.cast(INSTANT)).view(pa.int64()).to_numpy()
    if len(micros) and not YEARS_US[0] <= micros.min() <= micros.max() <= YEARS_US[1]:
        raise ValueError(f"{side}: column {name!r} must lie in the years 1 to 9999, got {micros.min()} to "
                         f"{micros.max()} microseconds since 1970; was a unit taken for another?")
    return micros

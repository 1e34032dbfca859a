"""The point-in-time join in one process: golden cases, what is refused, and any input against a slow reference."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_code.common import point_in_time
from model_code.common.point_in_time import join
from model_code.common.point_in_time_definition import PointInTime
from tests.support.point_in_time_cases import CASES, NAN, NOON, Case, definition, feature_table, label_table


def same(found: list[Any], expected: list[Any]) -> bool:
    return len(found) == len(expected) and all(
        a == b or (a is not None and b is not None and a != a and b != b) for a, b in zip(found, expected, strict=True))


@pytest.fixture(params=[(64, 1 << 18), (8, 1 << 18), (4, 1)],
                ids=["as it is", "many ties", "all ties, one entity a block"])
def tuned(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """With few key bits every two rows of an entity are told apart only afterwards."""
    monkeypatch.setattr(point_in_time, "KEY_BITS", request.param[0])
    monkeypatch.setattr(point_in_time, "BLOCK_ROWS", request.param[1])


@pytest.mark.usefixtures("tuned")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_golden_case(case: Case) -> None:
    labels = label_table(case.labels)
    joined = join(labels, feature_table(case.features), definition(case.ttl))
    assert joined.select(labels.column_names).equals(labels)
    assert joined.column_names == [*labels.column_names, "happened_at", "arrived_at", "value", "note"]
    assert same(joined["value"].to_pylist(), case.answers)


def test_text_is_compared_by_its_bytes_and_only_after_the_column_before_it() -> None:
    rows = [("a", 0, 0, 1.0, "ü"), ("a", 0, 0, 2.0, "z"), ("a", 0, 0, 2.0, "é"), ("a", 0, 0, 2.0, None)]
    assert join(label_table([("a", 0)]), feature_table(rows), definition())["note"].to_pylist() == ["é"]


def test_the_joined_row_tells_its_times() -> None:
    joined = join(label_table([("a", 9), ("b", 9)]), feature_table([("a", 1, 2, 1.0)]), definition())
    assert joined["happened_at"].to_pylist() == [NOON + timedelta(minutes=1), None]
    assert joined["arrived_at"].to_pylist() == [NOON + timedelta(minutes=2), None]


@pytest.mark.parametrize("kind", [pa.bool_(), pa.int32(), pa.decimal128(9, 2), pa.date32(), pa.binary(), pa.null(),
                                  pa.dictionary(pa.int32(), pa.string()), pa.timestamp("us")], ids=str)
def test_every_single_valued_type_can_be_a_feature(kind: pa.DataType) -> None:
    features = feature_table([("a", 0, 0, None), ("a", 0, 0, None)]).set_column(3, "value", pa.nulls(2, kind))
    assert join(label_table([("a", 0)]), features, definition())["value"].to_pylist() == [None]


def test_entities_may_be_integers_of_different_width_or_text_of_different_layout() -> None:
    labels, features = label_table([("1", 1), ("3", 1)]), feature_table([("1", 0, 0, 1.0), ("2", 0, 0, 2.0)])
    layouts = [(pa.int32(), pa.int64()), (pa.large_string(), pa.string()),
               (pa.string(), pa.dictionary(pa.int32(), pa.string()))]
    for ours, theirs in layouts:
        joined = join(labels.set_column(1, "user", labels["user"].cast(ours)),
                      features.set_column(0, "user", features["user"].cast(theirs)), definition())
        assert joined["value"].to_pylist() == [1.0, None]


def test_other_units_are_converted_and_never_rounded() -> None:
    labels, features = label_table([("a", 1)]), feature_table([("a", 0, 0, 1.0)])
    seconds = labels.set_column(2, "asked_at", labels["asked_at"].cast(pa.timestamp("s", "Asia/Tokyo")))
    joined = join(seconds, features, definition())
    assert joined["asked_at"].to_pylist() == [NOON + timedelta(minutes=1)]
    assert joined["asked_at"].type == pa.timestamp("us", "UTC")
    nanos = pa.array([1], pa.timestamp("ns", "UTC"))
    with pytest.raises(ValueError, match="would lose data"):
        join(labels.set_column(2, "asked_at", nanos), features, definition())


def test_a_table_in_many_pieces_is_joined_as_a_whole() -> None:
    pieces = [feature_table([("a", i, i, float(i))]) for i in range(4)]
    labels = pa.concat_tables([label_table([("a", 3)]), label_table([("a", 1)])])
    assert join(labels, pa.concat_tables(pieces), definition())["value"].to_pylist() == [3.0, 1.0]


@pytest.mark.parametrize(("side", "column", "kind"), [
    ("labels", "asked_at", pa.timestamp("us")), ("features", "happened_at", pa.timestamp("us")),
    ("features", "arrived_at", pa.timestamp("ms")), ("labels", "asked_at", pa.string())])
def test_a_time_without_a_zone_is_refused(side: str, column: str, kind: pa.DataType) -> None:
    tables = {"labels": label_table([("a", 0)]), "features": feature_table([("a", 0, 0, 1.0)])}
    place = tables[side].column_names.index(column)
    tables[side] = tables[side].set_column(place, column, tables[side][column].cast(kind))
    with pytest.raises(ValueError, match=f"{side}: column '{column}' must be a time with a zone, got {kind}".replace(
            "[", r"\[").replace("]", r"\]")):
        join(tables["labels"], tables["features"], definition())


def test_what_the_definition_does_not_mean_is_refused() -> None:
    labels, features = label_table([("a", 0)]), feature_table([("a", 0, 0, 1.0)])
    missing = pa.nulls(1, pa.timestamp("us", "UTC"))
    with pytest.raises(ValueError, match="labels: column 'asked_at' has rows without a time"):
        join(labels.set_column(2, "asked_at", missing), features, definition())
    with pytest.raises(ValueError, match="features: column 'arrived_at' has rows without a time"):
        join(labels, features.set_column(2, "arrived_at", missing), definition())
    with pytest.raises(ValueError, match=r"features: columns \['note'\] are missing"):
        join(labels, features.drop_columns("note"), definition())
    with pytest.raises(ValueError, match=r"labels: columns \['value'\] are also what the join adds"):
        join(labels.append_column("value", [[1]]), features, definition())
    with pytest.raises(ValueError, match="integers or text in both tables, got int64 in labels and string"):
        join(labels.set_column(1, "user", [[1]]), features, definition())
    with pytest.raises(ValueError, match="'value' must hold single values, got list"):
        join(labels, features.set_column(3, "value", [[[1.0]]]), definition())
    with pytest.raises(ValueError, match="years 1 to 9999"):
        join(labels, features.set_column(1, "happened_at", pa.array([2**60], pa.timestamp("us", "UTC"))), definition())


def test_a_definition_is_checked_at_birth() -> None:
    names = {"entity": "user", "label_time": "t", "event_time": "e", "ingestion_time": "i"}
    with pytest.raises(ValueError, match=r"more than once: \['e'\]"):
        PointInTime(**names, features=("e",))
    with pytest.raises(ValueError, match="at least one feature"):
        PointInTime(**names, features=())
    with pytest.raises(ValueError, match="longer than 0, got 0:00:00"):
        PointInTime(**names, features=("f",), ttl=timedelta(0))


def test_a_definition_survives_json() -> None:
    for kept in (definition(), definition(timedelta(days=30, microseconds=1))):
        assert PointInTime.from_json(kept.to_json()) == kept
    with pytest.raises(ValueError, match="a JSON object with the fields"):
        PointInTime.from_json('{"entity": "user", "tll": 3}')


def test_many_entities_with_times_ages_apart_are_kept_apart() -> None:
    ages = [datetime(year, 1, 1, tzinfo=UTC) for year in (1, 2026)]
    features = feature_table([(str(i), when, when, float(i)) for i in range(400) for when in ages])
    joined = join(label_table([(str(i), 0) for i in range(400)]), features, definition())
    assert joined["value"].to_pylist() == [float(i) for i in range(400)]
    assert set(joined["happened_at"].to_pylist()) == {ages[1]}


# Few entities, times and values, so that nearly everything ties; a few times are far apart.
TIMES = st.sampled_from([0, 1, 2, 3, 0, 1, 2, 3, *(datetime(year, 1, 1, tzinfo=UTC) for year in (1, 9999))])
USERS = st.sampled_from(["a", "a", "a", "b", "b", None])
VALUES = st.sampled_from([None, 0.0, 1.0, -1.0, NAN, math.inf])
FEATURE_ROWS = st.lists(st.tuples(USERS, TIMES, TIMES, VALUES, st.sampled_from([None, "", "b", "é"])), max_size=24)
LABEL_ROWS = st.lists(st.tuples(USERS, st.integers(0, 4)), max_size=8)
TTLS = st.sampled_from([None, timedelta(microseconds=1), timedelta(minutes=2), timedelta(days=9_000)])


def reference(label: dict[str, Any], rows: list[dict[str, Any]], ttl: timedelta | None) -> dict[str, Any] | None:
    """The definition, word by word."""

    def rank(value: Any) -> tuple[Any, ...]:
        if value is None:
            return (0,)
        return (1, value.encode()) if isinstance(value, str) else (1, value != value, 0 if value != value else value)

    known = [row for row in rows if row["user"] is not None and row["user"] == label["user"]
             and row["happened_at"] <= label["asked_at"] and row["arrived_at"] <= label["asked_at"]]
    if not known:
        return None
    newest = max(known, key=lambda r: (r["happened_at"], r["arrived_at"], rank(r["value"]), rank(r["note"])))
    return None if ttl is not None and label["asked_at"] - newest["happened_at"] > ttl else newest


@settings(max_examples=200, deadline=None)
@given(LABEL_ROWS, FEATURE_ROWS, TTLS, st.sampled_from([64, 11, 9, 4]), st.sampled_from([1, 5, 1 << 18]))
def test_any_input_is_joined_as_the_reference_joins_it(
    labels: list[Any], features: list[Any], ttl: timedelta | None, key_bits: int, block_rows: int,
) -> None:
    label_rows, feature_rows = label_table(labels), feature_table(features)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(point_in_time, "KEY_BITS", key_bits)
        patch.setattr(point_in_time, "BLOCK_ROWS", block_rows)
        joined = join(label_rows, feature_rows, definition(ttl))
    rows = feature_rows.to_pylist()
    expected = [reference(label, rows, ttl) or {} for label in label_rows.to_pylist()]
    for name in ("happened_at", "arrived_at", "value", "note"):
        assert same(joined[name].to_pylist(), [answer.get(name) for answer in expected])

"""Arbitrary bytes: no row is lost, nothing but the documented error is raised."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from contracts.datasets import LabelFileError, Validation, is_golden, parse_lines, validate_lines
from contracts.inference import MAX_TEXT_CHARS, BadRequest, IntentRequest, check_request_id, parse_request
from contracts.taxonomies import SNIPS_V1, Taxonomy

FIELD_NAMES = ("id", "text", "label", "language", "cohort", "daypart", "annotator_labels", "group_id", "taxonomy",
               "schema_version", "source", "kind", "request_id", "customer_id", "asked_at")
ANY_TEXT = st.text(st.characters(), max_size=12)  # surrogates included
VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), ANY_TEXT, st.lists(ANY_TEXT, max_size=3),
    st.dictionaries(ANY_TEXT, ANY_TEXT, max_size=2),
    st.sampled_from(["play_music", "en", "ja", "mixed", "new", "peak", "vendor", "snips-v1", "1",
                     "2026-06-01T09:30:00Z", "0001-01-01T00:00:00+09:00"]), st.just(1),
)
ROWS = st.dictionaries(st.sampled_from(FIELD_NAMES), VALUES, max_size=len(FIELD_NAMES))
NEAR_ROWS = ROWS.map(lambda row: {"id": "i", "text": "t", "label": "play_music"} | row)


def encoded(row: Any) -> bytes:
    return json.dumps(row).encode()


LINES = st.lists(st.one_of(st.binary(max_size=40), ROWS.map(encoded), NEAR_ROWS.map(encoded)), max_size=8)


def validated(lines: list[bytes], taxonomy: Taxonomy | None = None) -> Validation | str:
    """The validation, or the message of the one error that is allowed."""
    try:
        return validate_lines(lines, file="f", taxonomy=taxonomy)
    except LabelFileError as error:
        return str(error)


def parsed(body: bytes, header: str | None = None) -> IntentRequest | BadRequest:
    try:
        return parse_request(body, request_id=header)
    except BadRequest as bad:
        return bad


@given(LINES)
def test_every_line_that_is_not_blank_is_either_a_row_or_a_problem(lines: list[bytes]) -> None:
    filled = [n for n, line in enumerate(lines, start=1) if line.strip()]
    assert [n for n, _ in parse_lines(lines)] == filled
    found = validated(lines, SNIPS_V1)
    if isinstance(found, str):
        assert not filled  # with a declared label set only an empty file is refused as a whole
        return
    assert found.total == len(filled)
    assert len(found.rows) + len({p.row for p in found.problems}) == len(filled)
    assert {p.row for p in found.problems} <= set(filled)


def told_or_refused(lines: list[bytes]) -> bool:
    """No row lost, or a message that begins with the file's name."""
    found = validated(lines)
    if isinstance(found, str):
        return found.startswith("f: ")
    return found.total == sum(bool(line.strip()) for line in lines)


@given(LINES)
def test_an_undeclared_label_set_is_told_or_refused_with_a_message(lines: list[bytes]) -> None:
    assert told_or_refused(lines)


@given(st.sampled_from(["language", "cohort", "daypart", "text", "id", "label"]), VALUES)
def test_twenty_rows_a_label_with_anything_in_a_field_never_raise_anything_else(field: str, value: Any) -> None:
    assert told_or_refused([encoded({"id": f"{label}{i}", "text": "t", "label": label} | {field: value})
                            for label in ("x", "y") for i in range(20)])


@given(st.lists(NEAR_ROWS.map(encoded), max_size=8))
def test_a_good_row_can_be_written_read_again_and_split(lines: list[bytes]) -> None:
    if not lines:
        return
    rows = validate_lines(lines, file="f", taxonomy=SNIPS_V1).rows
    for row in rows:
        again = validate_lines([json.dumps(row.to_dict(), ensure_ascii=False).encode()], file="f", taxonomy=SNIPS_V1)
        assert again.rows == (row,)
        is_golden(row, 0.5)


@given(st.one_of(st.binary(max_size=200), ROWS.map(encoded), ANY_TEXT.map(encoded)), st.none() | ANY_TEXT)
def test_a_request_is_parsed_or_refused_with_a_code_and_an_id(body: bytes, header: str | None) -> None:
    found = parsed(body, header)
    if isinstance(found, BadRequest):
        error = found.to_body()["error"]
        assert 400 <= found.status < 500
        assert error["code"].isidentifier()
        assert check_request_id(error["request_id"]) is not None
        json.dumps(found.to_body(), ensure_ascii=False).encode()  # no half characters in the answer
    else:
        assert found.text.strip()
        assert len(found.text) <= MAX_TEXT_CHARS
        assert check_request_id(found.request_id) == found.request_id
        found.text.encode()


@given(st.text(min_size=1, max_size=50))
def test_a_refusal_never_quotes_the_customer(text: str) -> None:
    marker = "customerword"
    refused = parsed(json.dumps({"text": marker + text + "\x00"}).encode())
    assert isinstance(refused, BadRequest)
    assert marker not in json.dumps(refused.to_body())

"""What goes into an endpoint: bad input gets a code and a request_id."""

from __future__ import annotations

import json

import pytest

from contracts.inference import BadRequest, IntentRequest, check_request_id, new_request_id, parse_request

RID = "0a1b2c3d-0000-4000-8000-123456789abc"
OTHER = "ffffffff-0000-4000-8000-123456789abc"


def body(**fields: object) -> bytes:
    return json.dumps(fields).encode()


def test_a_request_keeps_its_id_text_and_known_dimensions() -> None:
    request = parse_request(body(text="いつ出る?\n", request_id=RID, cohort="new", daypart="peak"))
    assert request == IntentRequest(text="いつ出る?\n", request_id=RID, cohort="new", daypart="peak")


def test_the_headers_id_wins_over_the_bodys() -> None:
    assert parse_request(body(text="x", request_id=OTHER), request_id=RID.upper()).request_id == RID
    assert parse_request(body(text="x", request_id=RID), request_id="not a uuid").request_id == RID


def test_without_a_usable_id_one_is_born() -> None:
    first, second = (parse_request(body(text="x", request_id=7)).request_id for _ in range(2))
    assert check_request_id(first) == first != second


def test_free_text_in_a_dimension_is_dropped_for_it_would_be_captured() -> None:
    request = parse_request(body(text="x", cohort="my address", daypart=3))
    assert (request.cohort, request.daypart) == (None, None)


@pytest.mark.parametrize(("raw", "status", "code"), [
    (b"x" * 16_385, 413, "body_too_large"),
    (b"", 400, "invalid_json"),
    (b"{", 400, "invalid_json"),
    (b"\xff", 400, "invalid_json"),
    (b"[" * 16_000, 400, "invalid_json"),
    (b'{"text": ' + b"1" * 5_000 + b"}", 400, "invalid_json"),
    (b'"text"', 400, "not_an_object"),
    (body(), 400, "text_missing"),
    (body(text=None), 400, "text_missing"),
    (body(text=["x"]), 400, "text_not_a_string"),
    (body(text=" \t"), 400, "text_empty"),
    (body(text="x" * 2_001), 400, "text_too_long"),
    (body(text="a\x00b"), 400, "control_characters"),
    (body(text="a\x7fb"), 400, "control_characters"),
    (b'{"text": "\\ud83d"}', 400, "unpaired_surrogate"),
])
def test_bad_input_gets_its_code_and_the_request_id(raw: bytes, status: int, code: str) -> None:
    with pytest.raises(BadRequest) as caught:
        parse_request(raw, request_id=RID)
    assert (caught.value.status, caught.value.code) == (status, code)
    error = caught.value.to_body()["error"]
    assert (error["code"], error["request_id"]) == (code, RID)
    assert error["message"]


@pytest.mark.parametrize("raw", [None, 7, "", "x", RID + "\n", " " + RID, RID[:-1]])
def test_what_is_no_uuid_is_no_request_id(raw: object) -> None:
    assert check_request_id(raw) is None


def test_new_ids_are_uuids() -> None:
    assert check_request_id(new_request_id()) is not None

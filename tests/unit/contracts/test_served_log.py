"""The log line of an answer: what is compared of it, and that both sides choose the same requests."""

from __future__ import annotations

import json
from typing import Any

import pytest

from contracts import served_log
from contracts.inference import new_request_id

LINE = {"event": "request", "status": 200, "request_id": "5e0c6f9a-0000-4000-8000-000000000001", "bucket": 1,
        "model_version": "7", "language": "ja", "answer": "order_status", "ms": 3}


def test_a_line_of_an_answer_is_read() -> None:
    found = served_log.read(json.dumps(LINE), 100)
    assert found == served_log.ServedLine(
        request_id=LINE["request_id"], version="7", language="ja", answer="order_status", ms=3.0)  # type: ignore[arg-type]


@pytest.mark.parametrize("changed", [
    {"event": "serving"}, {"status": 500}, {"answer": None}, {"request_id": None}, {"ms": None}])
def test_whatever_is_no_answer_to_compare_is_left_out(changed: dict[str, Any]) -> None:
    assert served_log.read(json.dumps({**LINE, **changed}), 100) is None


@pytest.mark.parametrize("message", ["", "Traceback", "[]", "3"])
def test_a_line_that_is_no_object_is_left_out(message: str) -> None:
    assert served_log.read(message, 100) is None


def test_a_share_of_the_requests_is_compared_and_a_smaller_share_is_part_of_a_larger_one() -> None:
    ids = [new_request_id() for _ in range(2_000)]
    chosen = {share: {rid for rid in ids if served_log.read(json.dumps({**LINE, "request_id": rid}), share)}
              for share in (10, 50)}
    assert 100 < len(chosen[10]) < 300
    assert chosen[10] < chosen[50]
    assert {served_log.bucket(rid) < 10 for rid in chosen[10]} == {True}


def test_cloudwatch_is_asked_for_answers_of_both_versions_only() -> None:
    assert served_log.filter_pattern(("6", "7"), 10) == (
        '{ $.event = "request" && $.status = 200 && $.bucket < 10 && '
        '($.model_version = "6" || $.model_version = "7") }')

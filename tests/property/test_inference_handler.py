"""Whatever comes in, the handler answers with a status and a JSON object, and the next request works."""

from __future__ import annotations

import json
from functools import cache

from hypothesis import given, settings
from hypothesis import strategies as st

from model_code.intent_classifier.inference import Handler
from model_code.intent_classifier.predictor import Predictor
from tests.support import tiny_model


@cache
def handler() -> Handler:
    return Handler(predictor=Predictor(tiny_model.model_dir() / "serving"), story=tiny_model.STORY, model_version="1",
                   log=lambda event, **fields: None)


def check(status: int, body: bytes) -> None:
    answer = json.loads(body)
    if status == 200:
        assert 0 <= answer["confidence"] <= 1
        assert answer["intent"] in tiny_model.TAXONOMY.labels
        assert len(answer["request_id"]) == 36
    else:
        assert status in (400, 413)
        assert len(answer["error"]["request_id"]) == 36


@settings(deadline=None, max_examples=150)
@given(text=st.text(st.characters(codec=None), max_size=2100))
def test_any_text_is_answered(text: str) -> None:
    """Surrogates included: JSON can carry them."""
    check(*handler().handle(json.dumps({"text": text}).encode()))


@settings(deadline=None, max_examples=150)
@given(body=st.binary(max_size=400))
def test_any_bytes_are_answered(body: bytes) -> None:
    check(*handler().handle(body))


@settings(deadline=None, max_examples=100)
@given(value=st.recursive(st.none() | st.booleans() | st.floats() | st.text(), lambda c: st.lists(c) | st.dictionaries(
    st.sampled_from(["text", "request_id", "cohort", "daypart"]), c)))
def test_any_json_is_answered(value: object) -> None:
    check(*handler().handle(json.dumps(value).encode()))

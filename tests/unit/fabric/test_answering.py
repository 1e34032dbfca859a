"""Cache, endpoint, fallback: one question within its budget, whatever is down."""

from __future__ import annotations

import json
import time
from collections import Counter
from typing import Any

import pytest

from contracts.inference import BadRequest, check_request_id
from contracts.stories.intent_classifier import INTENT_CLASSIFIER
from contracts.taxonomies import MANGA14_V1
from fabric import Unavailable, connect
from fabric.client import Fabric
from fabric.connect import IamCredentials
from tests.support.embedded import eventually
from tests.support.inference import DEADLINE_S, SECRET, SESSION, STORY, Aws, Valkey, fabric_of, serving_of

RID = "0a1b2c3d-0000-4000-8000-123456789abc"


def metrics_of(lines: list[str]) -> Counter[tuple[str, str]]:
    """(metric, language) -> sum."""
    found: Counter[tuple[str, str]] = Counter()
    for line in map(json.loads, lines):
        directive = line["_aws"]["CloudWatchMetrics"][0]
        assert directive["Namespace"] == "MangaAssist/ML"
        assert all(name in line for name in directive["Dimensions"][0])
        for metric in directive["Metrics"]:
            if metric["Unit"] == "Count":
                found[metric["Name"], line["Language"]] += line[metric["Name"]]
    return found


def test_a_question_asked_again_is_answered_from_the_cache_as_the_model_would(aws: Aws, valkey: Valkey) -> None:
    lines: list[str] = []
    with fabric_of(aws, valkey.cache(), lines=lines) as fabric:
        first = fabric.answer("Where is  my parcel?", cohort="new", daypart="peak")
        second = fabric.answer(" Where is my parcel? ", request_id=RID)
        other = fabric.answer("ワンピースの新刊")
    assert aws.asked == ["Where is my parcel?", "ワンピースの新刊"]
    assert [a["cached"] for a in (first, second, other)] == [False, True, False]
    assert {**first, "request_id": RID, "cached": True} == second
    assert check_request_id(first["request_id"]) is not None
    assert metrics_of(lines) == {("Requests", "en"): 2, ("Requests", "ja"): 1, ("CacheHits", "en"): 1,
                                 ("CacheMisses", "en"): 1, ("CacheMisses", "ja"): 1}
    assert [r["request_id"] for r in aws.captured] == [a["request_id"] for a in (first, second, other)]
    assert aws.captured[1] == {**aws.captured[0], **{k: aws.captured[1][k] for k in (
        "request_id", "cached", "at", "latency_ms", "cohort", "daypart")}}
    assert "parcel" not in json.dumps(aws.captured)


def test_the_fallback_starts_nothing_and_is_marked_counted_and_captured(aws: Aws) -> None:
    assert INTENT_CLASSIFIER.inference.fallback in set(MANGA14_V1.labels) - set(MANGA14_V1.safety_critical)
    aws.endpoint_answers = 0
    lines: list[str] = []
    with fabric_of(aws, None, lines=lines) as fabric:
        answer = fabric.answer("返品 please", request_id=RID, cohort="new")
        with pytest.raises(Unavailable):
            fabric.predict("返品 please")
    assert answer == {"request_id": RID, "story": STORY, "model_version": None, "language": "mixed",
                      "intent": "smalltalk", "confidence": 0.0, "source": "fallback", "cached": False,
                      "features": None}
    assert metrics_of(lines) == {("Requests", "mixed"): 1, ("Fallbacks", "mixed"): 1}
    assert [(r["source"], r["cohort"]) for r in aws.captured] == [("fallback", "new")]


@pytest.mark.parametrize("text", ["", " \n　", "\ud800", "a\x00b", "x" * 2_001, None, 7])
def test_bad_input_reaches_neither_cache_nor_endpoint_nor_fallback(aws: Aws, valkey: Valkey, text: Any) -> None:
    with fabric_of(aws, valkey.cache()) as fabric, pytest.raises(BadRequest):
        fabric.answer(text)
    assert (aws.asked, aws.captured, valkey.raw.dbsize()) == ([], [], 0)


def test_a_cache_killed_midway_costs_no_answer(aws: Aws, valkey: Valkey) -> None:
    lines: list[str] = []
    with fabric_of(aws, valkey.cache(), lines=lines) as fabric:
        assert [fabric.answer("a")["cached"] for _ in range(3)] == [False, True, True]
        valkey.kill()
        try:
            answers = [fabric.answer("a") for _ in range(20)]
        finally:
            valkey.start()
    assert {(a["source"], a["cached"], a["model_version"]) for a in answers} == {("model", False, "7")}
    assert len(aws.asked) == 21
    found = metrics_of(lines)
    assert 1 <= found["CacheErrors", "en"] <= 3
    assert found["Requests", "en"] == 23


def test_a_cache_that_hangs_leaves_the_answer_in_time(aws: Aws, valkey: Valkey) -> None:
    with fabric_of(aws, valkey.cache(timeout_s=0.1)) as fabric:
        fabric.answer("a")
        with valkey.halted():
            started = time.monotonic()
            assert fabric.answer("a")["source"] == "model"
            assert time.monotonic() - started < DEADLINE_S / 4


def test_an_endpoint_too_slow_gives_the_fallback_in_time_and_is_asked_once(aws: Aws, valkey: Valkey) -> None:
    lines: list[str] = []
    with fabric_of(aws, valkey.cache(), lines=lines, deadline_s=2.0) as fabric:
        aws.delay_s = 4.0
        started = time.monotonic()
        assert fabric.answer("a")["source"] == "fallback"
        assert time.monotonic() - started < 2.0
    assert aws.asked == ["a"]
    assert metrics_of(lines)["DeadlineExceeded", "en"] == 1


def test_with_the_endpoint_down_what_is_cached_is_still_answered(aws: Aws, valkey: Valkey) -> None:
    with fabric_of(aws, valkey.cache()) as fabric:
        fabric.answer("a")
        aws.down = {"InvokeEndpoint"}
        assert fabric.answer("a")["cached"]
        assert fabric.answer("b")["source"] == "fallback"


def test_upstream_versions_must_be_named_as_the_contract_has_them(aws: Aws) -> None:
    with fabric_of(aws, None) as fabric, pytest.raises(ValueError, match=r"versions of \[\], got \['spam'\]"):
        fabric.predict("a", upstream={"spam": "1"})


def test_a_lost_capture_shows_in_a_metric(aws: Aws) -> None:
    lines: list[str] = []
    aws.down = {"PutRecordBatch"}
    with fabric_of(aws, None, lines=lines) as fabric:
        fabric.answer("a")
    assert metrics_of(lines)["CaptureFailures", "all"] == 1


# --- frozen -----------------------------------------------------------------------------------


def test_frozen_a_candidate_that_was_never_promoted_answers_nobody(aws: Aws, valkey: Valkey) -> None:
    aws.frozen, aws.candidate = "true", "8"
    with fabric_of(aws, valkey.cache()) as fabric:
        answers = [fabric.answer(f"q{i}") for i in range(6)]
    assert {a["model_version"] for a in answers} == {"7"}, "the canary's share is asked again and answered by 7"


def test_frozen_an_endpoint_that_serves_only_a_candidate_leaves_the_fallback(aws: Aws) -> None:
    aws.frozen, aws.version = "true", "8"
    with fabric_of(aws, None) as fabric:
        assert fabric.answer("a")["source"] == "fallback"
        with pytest.raises(Unavailable) as caught:
            fabric.predict("a")
    assert caught.value.code == "pinned"


def test_frozen_a_roll_back_is_followed(aws: Aws) -> None:
    aws.promote("8")
    aws.frozen = "true"
    with fabric_of(aws, None) as fabric:
        assert fabric.answer("a")["model_version"] == "8"
        aws.version = "7"  # the endpoint moves before the pointer does
        assert fabric.answer("a")["model_version"] == "7"


def test_frozen_a_promotion_just_before_the_freeze_is_read_before_it_is_refused(aws: Aws) -> None:
    aws.frozen = "true"
    with fabric_of(aws, None) as fabric:
        aws.promote("8")  # the client has not read this pointer yet
        assert fabric.answer("a")["model_version"] == "8"


def test_a_freeze_flag_that_can_not_be_read_does_not_freeze(aws: Aws) -> None:
    aws.frozen, aws.down = "true", {"GetParameter"}
    assert serving_of(aws).frozen is False
    aws.down = set()
    assert serving_of(aws).frozen is True


# --- connect ----------------------------------------------------------------------------------


def connected(aws: Aws, monkeypatch: pytest.MonkeyPatch, lines: list[str]) -> Fabric:
    monkeypatch.setenv("AWS_ENDPOINT_URL", aws.url)
    return connect(STORY, deployment="jp", session=SESSION, emit=lines.append)


def test_connect_finds_cache_and_secret_and_a_cache_that_is_not_there_costs_no_answer(
        aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    aws.parameters["/mangaassist/inference-cache"] = json.dumps(
        {"host": "127.0.0.1", "port": 1, "name": "mangaassist-jp-inference", "user": "u", "secret_arn": "arn:s"})
    aws.secrets["arn:s"] = SECRET.decode()
    lines: list[str] = []
    with connected(aws, monkeypatch, lines) as fabric:
        assert fabric._cache is not None
        assert fabric._serving is not None
        eventually(fabric._serving.current)  # its reads have 150 ms, which a busy machine may not keep at first
        eventually(lambda: fabric.answer("a")["source"] == "model")
        eventually(lambda: fabric.answer("a") and (fabric._counters.flush() or metrics_of(lines)["CacheErrors", "en"]))


def test_connect_without_a_parameter_store_gives_a_fabric_without_a_cache(
        aws: Aws, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    aws.down = {"GetParameter"}
    lines: list[str] = []
    with connected(aws, monkeypatch, lines) as fabric:
        eventually(lambda: fabric.answer("a")["source"] == "model")
    assert "no cache for intent-classifier: " in caplog.text
    assert metrics_of(lines)["FlagFallback", "all"] == 1


def test_an_iam_token_is_signed_for_the_replication_group_and_its_user() -> None:
    from contracts.inference_cache import CacheAddress

    address = CacheAddress(host="h", name="mangaassist-jp-inference", user="mangaassist-jp-inference", secret_arn="a")
    assert CacheAddress.from_json(address.to_json()) == address
    user, token = IamCredentials(address, SESSION).get_credentials()
    assert user == address.user
    assert token.startswith("mangaassist-jp-inference/?Action=connect&User=mangaassist-jp-inference&X-Amz-Algorithm=")
    assert "%2Fap-northeast-1%2Felasticache%2Faws4_request" in token

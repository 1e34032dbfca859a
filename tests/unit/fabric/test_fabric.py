"""Asking the endpoint, without a cache: a stubbed one, and a real one (local, misbehaving)."""

from __future__ import annotations

import io
import json
import logging
import socket
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import boto3
import pytest
from botocore.response import StreamingBody
from botocore.stub import ANY, Stubber

from contracts.inference import check_request_id
from fabric import BadRequest, Fabric, Unavailable
from fabric.capture import capture_record

STORY = "intent-classifier"
RID = "0a1b2c3d-0000-4000-8000-123456789abc"
AT = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
ANSWER = {
    "request_id": RID, "story": STORY, "model_version": "7", "language": "en", "intent": "order_status",
    "confidence": 0.9, "source": "model", "features": {"chars": 5, "tokens": 3},
}
ANSWERED = {**ANSWER, "cached": False}
SESSION = boto3.Session(region_name="ap-northeast-1", aws_access_key_id="testing", aws_secret_access_key="testing")


class Stubbed:
    """A fabric whose two clients are stubs."""

    def __init__(self) -> None:
        self.runtime, self.firehose = (Stubber(SESSION.client(s)) for s in ("sagemaker-runtime", "firehose"))
        for stubber in (self.runtime, self.firehose):
            stubber.activate()
        self.fabric = Fabric(STORY, runtime=self.runtime.client, firehose=self.firehose.client, deadline_ms=10_000,
                             clock=lambda: AT)
        self.captured: list[dict[str, Any]] = []
        self.firehose.client.meta.events.register_last(
            "provide-client-params.firehose.PutRecordBatch",
            lambda params, **_: self.captured.extend(json.loads(r["Data"]) for r in params["Records"]))

    def answers(self, body: bytes = json.dumps(ANSWER).encode()) -> None:
        self.runtime.add_response(
            "invoke_endpoint", {"Body": StreamingBody(io.BytesIO(body), len(body))},
            {"EndpointName": "mangaassist-intent-classifier", "ContentType": "application/json",
             "Accept": "application/json", "CustomAttributes": f"request_id={RID}", "Body": ANY})

    def refuses(self, code: str, **fields: Any) -> None:
        self.runtime.add_client_error("invoke_endpoint", code, modeled_fields=fields)

    def takes_capture(self) -> None:
        self.firehose.add_response("put_record_batch", {"FailedPutCount": 0, "RequestResponses": [{"RecordId": "1"}]},
                                   {"DeliveryStreamName": "mangaassist-intent-classifier-capture", "Records": ANY})


@pytest.fixture
def stubbed() -> Iterator[Stubbed]:
    made = Stubbed()
    yield made
    made.fabric.close()
    made.runtime.assert_no_pending_responses()
    made.firehose.assert_no_pending_responses()


def test_an_answer_comes_back_and_its_features_are_captured_without_the_text(stubbed: Stubbed) -> None:
    stubbed.answers()
    stubbed.takes_capture()
    answer = stubbed.fabric.predict("where is my parcel", request_id=RID.upper(), cohort="new", daypart="peak")
    stubbed.fabric.close()
    assert answer == ANSWERED
    record = stubbed.captured[0]
    assert record.pop("latency_ms") >= 0
    assert record == {**ANSWERED, "at": "2026-11-20T12:00:00+00:00", "cohort": "new", "daypart": "peak"}
    assert "parcel" not in json.dumps(record)


def test_a_request_id_is_born_where_the_caller_has_none(stubbed: Stubbed) -> None:
    with pytest.raises(BadRequest) as caught:
        stubbed.fabric.predict(" ", request_id="mine")
    assert check_request_id(caught.value.request_id) is not None


@pytest.mark.parametrize(("text", "code"), [
    ("", "text_empty"), ("x" * 2_001, "text_too_long"), ("あ" * 16_000, "body_too_large"),
    ("\ud800", "unpaired_surrogate"), ("a\x00", "control_characters"), (None, "text_not_a_string"),
    (b"bytes", "text_not_a_string"),
])
def test_a_text_that_no_model_can_answer_is_refused_before_it_is_sent(stubbed: Stubbed, text: Any, code: str) -> None:
    with pytest.raises(BadRequest) as caught:
        stubbed.fabric.predict(text, request_id=RID)
    assert (caught.value.code, caught.value.request_id) == (code, RID)


def test_the_containers_own_refusal_passes_through_with_code_and_request_id(stubbed: Stubbed) -> None:
    said = {"error": {"code": "text_too_strange", "message": "say it otherwise", "request_id": RID}}
    stubbed.refuses("ModelError", OriginalStatusCode=422, OriginalMessage=json.dumps(said))
    with pytest.raises(BadRequest, match="say it otherwise") as caught:
        stubbed.fabric.predict("hello", request_id=RID)
    assert (caught.value.status, caught.value.code, caught.value.request_id) == (422, "text_too_strange", RID)


@pytest.mark.parametrize(("status", "message", "said"), [
    (500, json.dumps({"error": {"code": "model_error", "message": "m", "request_id": RID}}), "answered 500: model_e"),
    (500, "<html>", "answered 500 without a code"),
    (400, "[]", "answered 400 without a code"),
    (400, '{"error": "text"}', "answered 400 without a code"),
])
def test_a_container_that_fails_is_unavailable_not_a_bad_request(
    stubbed: Stubbed, status: int, message: str, said: str
) -> None:
    stubbed.refuses("ModelError", OriginalStatusCode=status, OriginalMessage=message)
    with pytest.raises(Unavailable, match=said) as caught:
        stubbed.fabric.predict("hello", request_id=RID)
    assert (caught.value.code, caught.value.request_id) == ("model_error", RID)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[1]", b"\xff"])
def test_an_answer_that_is_no_object_is_a_model_error(stubbed: Stubbed, body: bytes) -> None:
    stubbed.answers(body)
    with pytest.raises(Unavailable, match="no JSON object"):
        stubbed.fabric.predict("hello", request_id=RID)


def test_a_throttled_request_is_repeated_once(stubbed: Stubbed) -> None:
    stubbed.refuses("ThrottlingException")
    stubbed.answers()
    stubbed.takes_capture()
    assert stubbed.fabric.predict("hello", request_id=RID) == ANSWERED


def test_a_request_throttled_twice_is_unavailable(stubbed: Stubbed) -> None:
    stubbed.refuses("ThrottlingException")
    stubbed.refuses("ThrottlingException")
    with pytest.raises(Unavailable, match=rf"refused the request \(ThrottlingException\) \(request_id {RID}\)"):
        stubbed.fabric.predict("hello", request_id=RID)


def test_a_refusal_that_will_not_change_is_not_repeated(stubbed: Stubbed) -> None:
    stubbed.refuses("ValidationError")  # no such endpoint
    with pytest.raises(Unavailable) as caught:
        stubbed.fabric.predict("hello", request_id=RID)
    assert (caught.value.code, caught.value.repeatable) == ("refused", False)


def test_a_capture_that_fails_costs_no_answer_and_is_counted_and_logged_by_id(
    stubbed: Stubbed, caplog: pytest.LogCaptureFixture
) -> None:
    stubbed.answers()
    stubbed.firehose.add_client_error("put_record_batch", "ServiceUnavailableException")
    with caplog.at_level(logging.WARNING, logger="mangaassist.fabric"):
        assert stubbed.fabric.predict("secret words", request_id=RID) == ANSWERED
        stubbed.fabric.close()
    assert stubbed.fabric.capture_failures == 1
    assert caplog.messages == [f"capture failed: records=1 first_request_id={RID} error=ServiceUnavailableException"]


def test_a_record_that_firehose_refuses_is_lost_and_counted_and_its_neighbour_is_not(stubbed: Stubbed) -> None:
    stubbed.answers()
    stubbed.answers()
    stubbed.firehose.add_response("put_record_batch", {"FailedPutCount": 1, "RequestResponses": [
        {"RecordId": "1"}, {"ErrorCode": "ServiceUnavailableException", "ErrorMessage": "slow down"}]})
    for _ in range(2):
        stubbed.fabric.predict("hello", request_id=RID)
    stubbed.fabric.close()
    assert stubbed.fabric.capture_failures == 1


def test_every_record_has_the_same_shape_whatever_the_answer_lacks() -> None:
    full = capture_record(ANSWER, cohort="new", daypart="peak", latency_ms=1.23456, at=AT)
    empty = capture_record({}, cohort=None, daypart=None, latency_ms=0, at=AT)
    assert full.keys() == empty.keys()
    assert full["latency_ms"] == 1.235


def test_a_fabric_is_checked_at_birth() -> None:
    with pytest.raises(ValueError, match="deadline_ms must be 10 or more, got 5"):
        Fabric(STORY, session=SESSION, deadline_ms=5)
    with pytest.raises(ValueError, match="lower-case words"):
        Fabric("Intent Classifier", session=SESSION)


# --- its own clients, on real sockets ------------------------------------------------------------


Behave = Callable[[BaseHTTPRequestHandler, int], None]


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Behave], list[str]]]:
    """Start an HTTP server that behaves as told; gives the paths that were asked for."""
    servers: list[ThreadingHTTPServer] = []

    def start(behave: Behave) -> list[str]:
        asked: list[str] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                asked.append(self.path)
                behave(self, len(asked))

            def log_message(self, *args: Any) -> None:
                """Silent."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
        return asked

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def respond(handler: BaseHTTPRequestHandler, body: bytes) -> None:
    handler.send_response(200)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


def test_an_answer_that_does_not_come_in_time_is_a_timeout_and_not_asked_for_again(
    endpoint: Callable[[Behave], list[str]]
) -> None:
    released = threading.Event()

    def behave(handler: BaseHTTPRequestHandler, number: int) -> None:
        released.wait(10)

    asked = endpoint(behave)
    with pytest.raises(Unavailable) as caught:
        Fabric(STORY, session=SESSION, deadline_ms=100).predict("hello", request_id=RID)
    released.set()
    assert (caught.value.code, len(asked)) == ("timeout", 1)


def test_a_connection_that_breaks_is_tried_once_more(endpoint: Callable[[Behave], list[str]]) -> None:
    def behave(handler: BaseHTTPRequestHandler, number: int) -> None:
        if number == 1:
            handler.connection.shutdown(socket.SHUT_RDWR)
        elif handler.path.startswith("/endpoints/"):
            respond(handler, json.dumps(ANSWER).encode())
        else:
            respond(handler, b'{"FailedPutCount": 0, "RequestResponses": [{"RecordId": "1"}]}')

    asked = endpoint(behave)
    with Fabric(STORY, session=SESSION, deadline_ms=5_000) as fabric:
        assert fabric.predict("hello", request_id=RID) == ANSWERED
    assert asked == ["/endpoints/mangaassist-intent-classifier/invocations"] * 2 + ["/"]
    assert fabric.capture_failures == 0


def test_nobody_listening_is_unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free.getsockname()[1]}")
        with pytest.raises(Unavailable) as caught:
            Fabric(STORY, session=SESSION, deadline_ms=1_000).predict("hello", request_id=RID)
    assert caught.value.code == "unreachable"

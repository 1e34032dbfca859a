"""The serving container: what it answers to good and bad requests, over real HTTP and below it."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from contracts import metrics, served_log
from contracts.inference import MAX_BODY_BYTES
from contracts.manifests import ManifestError
from contracts.stories.intent_classifier import INTENT_CLASSIFIER
from model_code.intent_classifier.inference import Handler, header_request_id
from model_code.intent_classifier.predictor import Predictor
from model_code.serving.served_metrics import ServedLog
from model_code.serving.server import ServingEnv, load_handler, specialise
from tests.support import tiny_model

ROOT = Path(__file__).resolve().parents[3]
REQUEST_ID = "0f8fad5b-d9cb-469f-a165-70867728950e"
ATTRIBUTES = {"X-Amzn-SageMaker-Custom-Attributes": f"request_id={REQUEST_ID}"}


def environ(digest: str, **changes: str) -> ServingEnv:
    values = {"MODEL_MANIFEST_SHA256": digest, "MODEL_PUBLIC_KEY": tiny_model.public_key(), "MODEL_VERSION": "7",
              "STORY": tiny_model.STORY, "PREFILTER_ENABLED": "true"}
    return ServingEnv(**{**values, **changes})


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    model = tmp_path_factory.mktemp("signed") / "model"
    shutil.copytree(tiny_model.model_dir(), model)
    return model, tiny_model.sign(model)


@pytest.fixture(scope="module")
def lines() -> list[dict[str, object]]:
    return []


@pytest.fixture(scope="module")
def handler(lines: list[dict[str, object]]) -> Handler:
    predictor = Predictor(tiny_model.model_dir() / "serving")
    return Handler(predictor=predictor, story=tiny_model.STORY, model_version="7",
                   log=lambda event, **fields: lines.append({"event": event, **fields}))


class Server:
    def __init__(self, model: Path, digest: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.process = subprocess.Popen(
            [sys.executable, "-m", "model_code.serving.server", "serve"], cwd=ROOT, stdout=subprocess.PIPE,
            env={**os.environ, **environ(digest).to_environ(), "SM_MODEL_DIR": str(model),
                 "SAGEMAKER_BIND_TO_PORT": str(self.port)})

    def wait(self) -> None:
        for _ in range(600):
            try:
                if self.ask("GET", "/ping")[0] == 200:
                    return
            except OSError:
                time.sleep(0.05)
        raise AssertionError("the server did not answer /ping")

    def ask(self, method: str, path: str, body: bytes | Iterator[bytes] | None = None, **headers: str) -> \
            tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def stop(self) -> list[dict[str, object]]:
        """Terminate and return the log lines."""
        self.process.terminate()
        out, _ = self.process.communicate(timeout=20)
        return [json.loads(line) for line in out.decode().splitlines()]


def test_an_answer_names_request_story_version_language_and_features(handler: Handler) -> None:
    status, body = handler.handle(b'{"text": "order the manga please"}', request_id=REQUEST_ID)
    answer = json.loads(body)
    assert status == 200
    assert (answer["request_id"], answer["story"], answer["model_version"], answer["language"], answer["source"]) == (
        REQUEST_ID, tiny_model.STORY, "7", "en", "model")
    assert answer["intent"] in tiny_model.TAXONOMY.labels
    assert 1 / 3 <= answer["confidence"] <= 1
    assert set(answer["features"]) == {"chars", "tokens", "unknown_share", "japanese_share"}


BAD = {
    "empty body": (b"", 400, "invalid_json"), "not json": (b"{", 400, "invalid_json"),
    "not utf-8": (b'{"text": "\xff"}', 400, "invalid_json"), "a list": (b"[1]", 400, "not_an_object"),
    "no text": (b"{}", 400, "text_missing"), "number": (b'{"text": 5}', 400, "text_not_a_string"),
    "empty text": (b'{"text": " "}', 400, "text_empty"),
    "long text": (json.dumps({"text": "a" * 2001}).encode(), 400, "text_too_long"),
    "control": (b'{"text": "a\\u0007"}', 400, "control_characters"),
    "surrogate": (b'{"text": "a\\ud800"}', 400, "unpaired_surrogate"),
    "nested": (b"[" * 9000, 400, "invalid_json"),
    "large": (b'{"text": "' + b"a" * MAX_BODY_BYTES + b'"}', 413, "body_too_large"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_gets_a_code_and_a_request_id(handler: Handler, name: str) -> None:
    body, status, code = BAD[name]
    found_status, found = handler.handle(body, request_id=REQUEST_ID)
    error = json.loads(found)["error"]
    assert (found_status, error["code"], error["request_id"]) == (status, code, REQUEST_ID)
    assert handler.handle(b'{"text": "hello"}')[0] == 200


def test_log_lines_never_hold_the_text(handler: Handler, lines: list[dict[str, object]]) -> None:
    lines.clear()
    handler.handle('{"text": "秘密の本 hello"}'.encode(), request_id=REQUEST_ID)
    handler.handle(b'{"text": 12345}')
    assert [line["status"] for line in lines] == [200, 400]
    assert lines[0]["request_id"] == REQUEST_ID
    assert lines[0]["language"] == "mixed"
    assert "秘密" not in json.dumps(lines, ensure_ascii=False)


def test_what_was_answered_is_logged_so_that_a_shadows_answer_can_be_compared(
    handler: Handler, lines: list[dict[str, object]]
) -> None:
    """Champion and shadow get the same request_id in the mirrored body."""
    for version in ("7", "8"):
        lines.clear()
        body = json.dumps({"text": "hello", "request_id": REQUEST_ID}).encode()
        _, answer = replace(handler, model_version=version).handle(body)
        read = served_log.read(json.dumps(lines[0]), 100)
        assert read is not None
        assert (read.request_id, read.version, read.language) == (REQUEST_ID, version, "en")
        assert read.answer == json.loads(answer)["intent"]
        assert lines[0]["bucket"] == served_log.bucket(REQUEST_ID)


def test_a_broken_model_answers_500_without_its_error_text(handler: Handler, lines: list[dict[str, object]]) -> None:
    class Broken:
        def predict(self, text: str) -> None:
            raise RuntimeError(f"cannot infer {text}")

    lines.clear()
    broken = Handler(predictor=Broken(), story="s", model_version="1", log=handler.log)  # type: ignore[arg-type]
    status, body = broken.handle(b'{"text": "secret words"}', request_id=REQUEST_ID)
    assert (status, json.loads(body)["error"]["code"]) == (500, "model_error")
    assert b"secret" not in body
    assert lines[0]["error"] == "RuntimeError"
    assert "secret" not in json.dumps(lines)


def test_an_answer_counts_as_a_metric_of_its_version_and_a_bad_request_as_none(
    handler: Handler, capsys: pytest.CaptureFixture[str]
) -> None:
    log = ServedLog(story=INTENT_CLASSIFIER, counted_as="7")
    for fields in ({"status": 200, "ms": 36.0, "confidence": 0.4}, {"status": 200, "ms": 34.0, "confidence": 0.9},
                   {"status": 500, "ms": 2.0}):
        log("request", language="ja", **fields)
    replace(handler, log=log).handle(b'{"text": 12345}')
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    names = ("Served", "ServedErrors", "ServedSlow", "ServedUnsure")
    assert [[line.get(name) for name in names] for line in lines] == [
        [1, 0, 1, 1], [1, 0, 0, 0], [1, 1, 0, 0], [None] * 4]
    assert {"Story": "intent-classifier", "Language": "ja", "Version": "7"}.items() <= lines[0].items()
    declared = lines[0]["_aws"]["CloudWatchMetrics"][0]
    assert (declared["Namespace"], declared["Dimensions"]) == (metrics.NAMESPACE, [["Story", "Language", "Version"]])
    assert {m["Name"] for m in declared["Metrics"]} <= lines[0].keys()


@pytest.mark.parametrize(("shadow", "counted"), [("true", "7-shadow"), ("false", "7")])
def test_a_shadows_answers_are_counted_apart_from_those_of_a_canary(
    signed: tuple[Path, str], capsys: pytest.CaptureFixture[str], shadow: str, counted: str
) -> None:
    model, digest = signed
    _, answer = load_handler(environ(digest, MODEL_SHADOW=shadow), model).handle(b'{"text": "hello"}')
    logged = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (logged["Version"], logged["model_version"], json.loads(answer)["model_version"]) == (counted, "7", "7")


@pytest.mark.parametrize(("fault", "event"), [(None, "specialised"), (RuntimeError("no memory"), "not specialised")])
def test_a_container_says_whether_it_got_its_faster_graphs(
    fault: Exception | None, event: str, capsys: pytest.CaptureFixture[str],
) -> None:
    def compile_all() -> None:
        if fault:
            raise fault

    specialise(cast("Any", SimpleNamespace(specialise=compile_all)))
    said = json.loads(capsys.readouterr().out)
    assert said["event"] == event
    assert "no memory" not in json.dumps(said)


def test_a_shadow_is_said_in_words_that_are_known(signed: tuple[Path, str]) -> None:
    with pytest.raises(ValueError, match="MODEL_SHADOW must be true or false, got 'yes'"):
        load_handler(environ(signed[1], MODEL_SHADOW="yes"), signed[0])


@pytest.mark.parametrize(("attributes", "found"), [
    (f"request_id={REQUEST_ID}", REQUEST_ID), (f"a=b, request_id={REQUEST_ID.upper()}", REQUEST_ID),
    ("request_id=1; DROP TABLE", None), ("", None), (None, None),
])
def test_the_request_id_of_the_header(attributes: str | None, found: str | None) -> None:
    assert header_request_id(attributes) == found


def test_rules_answer_only_when_the_flag_is_on(tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(tiny_model.model_dir(), model)
    config = json.loads((model / "serving" / "config.json").read_text())
    config["rules"] = [{"intent": "greet", "pattern": "^yo$", "confidence": 0.97}]
    (model / "serving" / "config.json").write_text(json.dumps(config))
    digest = tiny_model.sign(model)
    answers = {}
    for flag in ("true", "false"):
        loaded = load_handler(environ(digest, PREFILTER_ENABLED=flag), model)
        answers[flag] = json.loads(loaded.handle(b'{"text": "Yo"}')[1])
    on = answers["true"]
    assert (on["source"], on["intent"], on["confidence"]) == ("rules", "greet", 0.97)
    assert answers["false"]["source"] == "model"


def test_a_tampered_model_is_refused_before_it_is_opened(signed: tuple[Path, str], tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(signed[0], model)
    (model / "serving" / "config.json").write_text("not even json")
    with pytest.raises(ManifestError, match=r"serving/config\.json differs"):
        load_handler(environ(signed[1]), model)


def test_a_flag_that_is_neither_true_nor_false_is_refused(signed: tuple[Path, str]) -> None:
    with pytest.raises(ValueError, match="true or false, got 'yes'"):
        load_handler(environ(signed[1], PREFILTER_ENABLED="yes"), signed[0])


def test_the_server_lives_through_everything(signed: tuple[Path, str]) -> None:
    server = Server(*signed)
    try:
        server.wait()
        for body, status, code in BAD.values():
            found, answer = server.ask("POST", "/invocations", body, **ATTRIBUTES)
            assert (found, json.loads(answer)["error"]["code"]) == (status, code)
            assert json.loads(answer)["error"]["request_id"] == REQUEST_ID
        large = server.ask("POST", "/invocations", b"x" * 10_000_000, **ATTRIBUTES)
        assert (large[0], json.loads(large[1])["error"]["request_id"]) == (413, REQUEST_ID)
        chunked = server.ask("POST", "/invocations", iter([b"y" * 100_000] * 30))
        assert chunked[0] == 413
        with socket.create_connection(("127.0.0.1", server.port)) as half:  # a client that dies in mid-body
            half.sendall(b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        status, answer = server.ask("POST", "/invocations", b'{"text": "refund"}', **ATTRIBUTES)
        assert (status, json.loads(answer)["request_id"]) == (200, REQUEST_ID)
        assert server.ask("GET", "/invocations")[0] == 405
        assert server.ask("GET", "/ping")[0] == 200
    finally:
        log = server.stop()
    assert log[0]["event"] == "serving"
    assert not [line for line in log if "Traceback" in json.dumps(line)]


def test_an_unsigned_model_stops_the_container_with_its_reason(tmp_path: Path) -> None:
    server = Server(tmp_path, "0" * 64)
    out, _ = server.process.communicate(timeout=30)
    assert server.process.returncode == 1
    assert "manifest.json is missing" in json.loads(out)["reason"]


def test_serving_and_evaluation_need_no_torch() -> None:
    """Importing torch and transformers would be most of the start of a container."""
    for module in ("model_code.serving.server", "model_code.intent_classifier.evaluate",
                   "model_code.intent_classifier.prepare"):
        check = f"import sys, {module}; sys.exit(bool({{'torch', 'transformers', 'nncf'}} & set(sys.modules)))"
        assert subprocess.run([sys.executable, "-c", check], cwd=ROOT, check=False).returncode == 0, module

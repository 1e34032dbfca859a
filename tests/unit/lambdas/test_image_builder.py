"""CloudFormation asks for an image and always gets an answer."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.stub import ANY, Stubber

from lambdas.image_builder import handler as image_builder
from lambdas.image_builder.handler import handler
from tests.unit.lambdas.account import ACCOUNT, REGION, Account

Stub = Callable[[str], Stubber]
URI = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/mangaassist/training"
DIGEST = "sha256:" + "d" * 64


@pytest.fixture
def cloudformation() -> Iterator[SimpleNamespace]:
    """The address that waits for the answer, and the answers it got."""
    answers: list[dict[str, Any]] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            answers.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            """Silent."""

    server = HTTPServer(("127.0.0.1", 0), Receiver)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield SimpleNamespace(url=f"http://127.0.0.1:{server.server_port}/answer", answers=answers)
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_builder.time, "sleep", lambda seconds: None)


def request(url: str, kind: str = "Create", **properties: str) -> dict[str, Any]:
    wanted = {"ProjectName": "build", "Repository": "mangaassist/training", "Tag": "t1"} | properties
    return {"RequestType": kind, "ResponseURL": url, "StackId": "stack", "RequestId": "r-1",
            "LogicalResourceId": "Image", "PhysicalResourceId": "mangaassist/training",
            "ResourceProperties": {k: v for k, v in wanted.items() if v}}


def image_there(stub: Stub) -> None:
    ecr = stub("ecr")
    ecr.add_response("describe_images", {"imageDetails": [{"imageDigest": DIGEST}]},
                     {"repositoryName": "mangaassist/training", "imageIds": [{"imageTag": "t1"}]})
    ecr.add_response("describe_repositories", {"repositories": [{"repositoryUri": URI}]})


def image_absent(stub: Stub) -> None:
    stub("ecr").add_client_error("describe_images", "ImageNotFoundException")


def build_started(stub: Stub) -> None:
    stub("codebuild").add_response("start_build", {"build": {"id": "build:1"}}, {
        "projectName": "build", "idempotencyToken": "r-1",
        "environmentVariablesOverride": [{"name": "IMAGE_TAG", "value": "t1", "type": "PLAINTEXT"}]})


def build_is(stub: Stub, status: str) -> None:
    stub("codebuild").add_response("batch_get_builds", {"builds": [{"id": "build:1", "buildStatus": status}]})


def test_an_image_is_built_waited_for_and_named_by_digest(
    account: Account, context: Any, stub: Stub, cloudformation: SimpleNamespace
) -> None:
    image_absent(stub)
    build_started(stub)
    for status in ("IN_PROGRESS", "IN_PROGRESS", "SUCCEEDED"):
        build_is(stub, status)
    image_there(stub)
    answer = handler(request(cloudformation.url), context)
    assert answer == {"state": "SUCCESS", "image_uri": f"{URI}@{DIGEST}"}
    assert cloudformation.answers == [{
        "Status": "SUCCESS", "PhysicalResourceId": "mangaassist/training", "StackId": "stack", "RequestId": "r-1",
        "LogicalResourceId": "Image", "Reason": "see the function's log", "Data": {"ImageUri": f"{URI}@{DIGEST}"}}]


def test_an_image_that_is_there_is_not_built_again(
    account: Account, context: Any, stub: Stub, cloudformation: SimpleNamespace
) -> None:
    image_there(stub)
    assert handler(request(cloudformation.url, "Update"), context)["state"] == "SUCCESS"


def test_a_failed_build_fails_the_resource_and_points_to_its_log(
    account: Account, context: Any, stub: Stub, cloudformation: SimpleNamespace
) -> None:
    image_absent(stub)
    build_started(stub)
    build_is(stub, "FAILED")
    assert handler(request(cloudformation.url), context)["state"] == "FAILED"
    assert cloudformation.answers[0]["Reason"] == "BuildFailed: build build:1 ended FAILED: see its CodeBuild log"


def test_a_build_that_pushes_no_image_fails_the_resource(
    account: Account, context: Any, stub: Stub, cloudformation: SimpleNamespace
) -> None:
    image_absent(stub)
    build_started(stub)
    build_is(stub, "SUCCEEDED")
    image_absent(stub)
    handler(request(cloudformation.url), context)
    assert "the build must push the tag in $IMAGE_TAG" in cloudformation.answers[0]["Reason"]


def test_a_long_build_is_handed_to_a_fresh_invocation_which_does_not_build_again(
    account: Account, context: Any, stub: Stub, cloudformation: SimpleNamespace
) -> None:
    image_absent(stub)
    build_started(stub)
    build_is(stub, "IN_PROGRESS")
    event = request(cloudformation.url)
    handed_over: dict[str, Any] = {}
    invoked = stub("lambda")
    invoked.client.meta.events.register_last(
        "provide-client-params.lambda.Invoke", lambda params, **_: handed_over.update(json.loads(params["Payload"])))
    invoked.add_response("invoke", {}, {"FunctionName": context.invoked_function_arn, "InvocationType": "Event",
                                        "Payload": ANY})
    context.get_remaining_time_in_millis = lambda: 59_000
    assert handler(event, context) == {"state": "building"}
    assert cloudformation.answers == []
    assert handed_over == {**event, "BuildId": "build:1"}

    context.get_remaining_time_in_millis = lambda: 900_000
    image_absent(stub)
    build_is(stub, "SUCCEEDED")
    image_there(stub)
    assert handler(handed_over, context)["state"] == "SUCCESS"


def test_deleting_keeps_the_images_and_asks_nobody(
    account: Account, context: Any, cloudformation: SimpleNamespace
) -> None:
    assert handler(request(cloudformation.url, "Delete"), context)["state"] == "SUCCESS"
    assert cloudformation.answers[0]["PhysicalResourceId"] == "mangaassist/training"


def test_a_resource_without_its_properties_is_answered_not_left_hanging(
    account: Account, context: Any, cloudformation: SimpleNamespace
) -> None:
    handler(request(cloudformation.url, Tag=""), context)
    assert cloudformation.answers[0]["Status"] == "FAILED"
    assert cloudformation.answers[0]["Reason"] == "InvalidInput: the image resource needs Tag"


def test_a_refused_call_is_answered_not_left_hanging(
    account: Account, context: Any, stub: Stub, cloudformation: SimpleNamespace
) -> None:
    stub("ecr").add_client_error("describe_images", "RepositoryNotFoundException")
    event = request(cloudformation.url)
    del event["PhysicalResourceId"]
    handler(event, context)
    assert cloudformation.answers[0]["Status"] == "FAILED"
    assert "RepositoryNotFoundException" in cloudformation.answers[0]["Reason"]

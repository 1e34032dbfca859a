"""What no customer should send, through the real endpoint: a 4xx with code and request_id, and the worker lives on."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.end_to_end.command_line import refused
from tests.support.deployment import ENDPOINT, SLUG, Deployed
from tests.support.embedded import eventually

pytestmark = pytest.mark.e2e
REQUEST_ID = "6f1c1b9e-8d53-4f0e-9a53-0c1f3c1f4b11"
MB = 1024 * 1024


@pytest.mark.parametrize(("body", "status", "code"), [
    (b"", 400, "invalid_json"), (b"{", 400, "invalid_json"), (b"\xff\xfe", 400, "invalid_json"),
    (b"[" * 10_000, 400, "invalid_json"), (b'["hello"]', 400, "not_an_object"), (b"{}", 400, "text_missing"),
    (b'{"text": ""}', 400, "text_empty"), (b'{"text": 7}', 400, "text_not_a_string"),
    (b'{"text": "a\\u0007b"}', 400, "control_characters"), (b'{"text": "a\\ud800b"}', 400, "unpaired_surrogate"),
    (json.dumps({"text": "a" * 2_001}).encode(), 400, "text_too_long"),
    (b'{"text": "' + b"a" * 5 * MB + b'"}', 413, "body_too_large"),
], ids=lambda value: f"{value[:18]!r}" if isinstance(value, bytes) else str(value))
def test_bad_input_is_the_callers_error_and_the_worker_lives_on(
        jp: Deployed, body: bytes, status: int, code: str) -> None:
    found, answer = invoke(jp, body)
    assert (found, answer["error"]["code"]) == (status, code)
    assert answer["error"]["request_id"] == REQUEST_ID
    assert "Traceback" not in answer["error"]["message"]
    assert invoke(jp, b'{"text": "please order the volume"}')[1]["intent"] == "buy"


def test_ten_megabytes_are_refused_by_whoever_sees_them_first_and_the_worker_lives_on(jp: Deployed) -> None:
    """SageMaker has a limit of its own; beyond it the container never sees the request."""
    with pytest.raises(ClientError) as refusal:
        jp.aws.client("sagemaker-runtime").invoke_endpoint(
            EndpointName=ENDPOINT, Body=b'{"text": "' + b"a" * 10 * MB + b'"}', ContentType="application/json")
    assert 400 <= refusal.value.response["ResponseMetadata"]["HTTPStatusCode"] < 500
    assert invoke(jp, b'{"text": "please order the volume"}')[1]["intent"] == "buy"


def test_the_command_line_says_what_is_wrong_with_a_text(jp: Deployed) -> None:
    assert "text_empty" in refused(jp, "invoke", SLUG, " ")
    assert "control_characters" in refused(jp, "invoke", SLUG, "a\x07b")


def test_log_lines_of_requests_hold_ids_and_never_a_text(jp: Deployed) -> None:
    secret = "my friend Hanako ordered volume 12"
    assert invoke(jp, json.dumps({"text": secret}).encode())[0] == 200
    pages = jp.aws.client("logs").get_paginator("filter_log_events")

    def messages() -> list[str]:
        return [event["message"] for page in pages.paginate(logGroupName=f"/aws/sagemaker/Endpoints/{ENDPOINT}")
                for event in page["events"]]

    eventually(lambda: any(REQUEST_ID in message for message in messages()))
    assert not any("Hanako" in message for message in messages())


def invoke(jp: Deployed, body: bytes) -> tuple[int, dict[str, Any]]:
    """Status and JSON of the container itself."""
    try:
        answer = jp.aws.client("sagemaker-runtime").invoke_endpoint(
            EndpointName=ENDPOINT, Body=body, ContentType="application/json",
            CustomAttributes=f"request_id={REQUEST_ID}")
    except ClientError as error:
        if error.response["Error"]["Code"] != "ModelError":
            raise
        return error.response["OriginalStatusCode"], json.loads(error.response["OriginalMessage"])
    return 200, json.loads(answer["Body"].read())

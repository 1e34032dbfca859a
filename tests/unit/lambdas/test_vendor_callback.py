"""The vendors' door: signed and in time, or refused with a code; one object per batch, however often it comes."""

from __future__ import annotations

import base64
import json
import time
import uuid
from types import SimpleNamespace
from typing import Any

import pytest

from contracts import naming
from contracts.vendor_callback import MAX_BODY_BYTES, SIGNATURE_HEADER, TIMESTAMP_HEADER, WINDOW_S, sign
from lambdas.vendor_callback import handler as module
from tests.unit.lambdas.account import LAKE, STORY, Account
from tests.unit.lambdas.conftest import SESSION

VENDOR, TASK, SECRET = "hakushi", "relabel-1", "s" * 64
BATCH = {"story": STORY, "task": TASK, "votes": [{"item": "a", "annotator": "1", "label": "secret words"}]}


@pytest.fixture
def door(account: Account) -> Account:
    SESSION.client("secretsmanager").create_secret(Name=naming.vendor_secret(VENDOR), SecretString=SECRET)
    account.put_object(LAKE, naming.task_key(STORY, TASK), b"{}")
    return account


def event(body: object = BATCH, *, vendor: str = VENDOR, secret: str = SECRET, ago_s: float = 0.0,
          **changes: Any) -> dict[str, Any]:
    text = body if isinstance(body, str) else json.dumps(body)
    at = int(time.time() - ago_s)
    signature = sign(secret.encode(), vendor=vendor, timestamp=at, body=text.encode())
    return {"version": "2.0", "routeKey": "POST /labels/{vendor}", "pathParameters": {"vendor": vendor}, "body": text,
            "headers": {TIMESTAMP_HEADER: str(at), SIGNATURE_HEADER: signature}, "isBase64Encoded": False, **changes}


def call(sent: dict[str, Any], context: SimpleNamespace) -> tuple[int, dict[str, str]]:
    answer = module.handler(sent, context)
    body = json.loads(answer["body"])
    assert str(uuid.UUID(body["request_id"])) == body["request_id"]
    return answer["statusCode"], body


def inbox(door: Account) -> dict[str, Any]:
    found = door.s3.list_objects_v2(Bucket=LAKE, Prefix=naming.INBOX_PREFIX).get("Contents", [])
    return {o["Key"]: json.loads(door.s3.get_object(Bucket=LAKE, Key=o["Key"])["Body"].read()) for o in found}


def test_a_signed_batch_is_put_into_the_inbox_and_its_text_is_not_logged(
        door: Account, context: SimpleNamespace, caplog: pytest.LogCaptureFixture) -> None:
    status, body = call(event(), context)
    assert status == 202
    assert inbox(door) == {naming.delivery_key(STORY, TASK, body["batch_id"]): {"by": VENDOR, "votes": BATCH["votes"]}}
    [received] = [vars(record) for record in caplog.records if record.message == "received"]
    assert (received["batch_id"], received["task"]) == (body["batch_id"], TASK)
    assert "secret words" not in str([vars(record) for record in caplog.records])


def test_a_replay_is_the_same_batch_and_writes_nothing(door: Account, context: SimpleNamespace) -> None:
    sent = event()
    first, again = call(sent, context), call(sent, context)
    later = call(event(ago_s=3), context)  # signed anew, the same bytes
    assert first[1]["batch_id"] == again[1]["batch_id"] == later[1]["batch_id"]
    assert {first[0], again[0], later[0]} == {202}
    [key] = inbox(door)
    door.s3.put_object(Bucket=LAKE, Key=key, Body=b'{"as": "it was"}')
    call(sent, context)
    assert inbox(door)[key] == {"as": "it was"}


def test_base64_is_what_was_signed(door: Account, context: SimpleNamespace) -> None:
    sent = event()
    coded = {**sent, "isBase64Encoded": True, "body": base64.b64encode(sent["body"].encode()).decode()}
    assert call(coded, context)[0] == 202
    assert call({**coded, "body": "%%%"}, context)[1]["code"] == "invalid_body"


@pytest.mark.parametrize("sent", [
    event(secret="t" * 64), event(ago_s=WINDOW_S + 2), event(ago_s=-WINDOW_S - 3_600), event(headers={}),
    event(headers=None), event(pathParameters=None), event(vendor="stranger"), event(vendor="northgate"),
    event(vendor="stranger", secret="\0" * 32), {**event(), "body": json.dumps({**BATCH, "task": "relabel-2"})},
    {**event(), "pathParameters": {"vendor": "northgate"}}, {**event(), "headers": {
        TIMESTAMP_HEADER: "soon", SIGNATURE_HEADER: "0"}},
])
def test_what_is_not_signed_by_a_vendor_just_now_is_refused_in_the_same_words(
        door: Account, context: SimpleNamespace, sent: dict[str, Any]) -> None:
    SESSION.client("secretsmanager").create_secret(Name=naming.vendor_secret("northgate"), SecretString="n" * 64)
    status, body = call(sent, context)
    assert (status, body["code"]) == (401, "signature_refused")
    assert body["message"] == "needed is the vendor's signature of this body at this moment"
    assert inbox(door) == {}


@pytest.mark.parametrize(("body", "code"), [
    ("{", "invalid_json"), ("[" * 100_000, "invalid_json"), ("[]", "invalid_batch"), ("", "invalid_json"),
    ({"story": STORY, "task": TASK}, "invalid_batch"), ({**BATCH, "more": 1}, "invalid_batch"),
    ({**BATCH, "story": "no-such"}, "unknown_story"), ({**BATCH, "story": ["x"]}, "unknown_story"),
    ({**BATCH, "task": "../../x"}, "invalid_batch"), ({**BATCH, "task": "not-sent-out"}, "unknown_task"),
    ({**BATCH, "votes": []}, "invalid_batch"), ({**BATCH, "votes": "all"}, "invalid_batch"),
])
def test_signed_nonsense_is_a_bad_request(door: Account, context: SimpleNamespace, body: object, code: str) -> None:
    status, answer = call(event(body), context)
    assert (status, answer["code"]) == (400, code)
    assert inbox(door) == {}


def test_too_large_is_said_before_anything_is_looked_at(door: Account, context: SimpleNamespace) -> None:
    for size in (MAX_BODY_BYTES + 1, 2 * MAX_BODY_BYTES):
        assert call({**event(), "body": "x" * size}, context)[1]["code"] == "too_large"
    assert call({**event(), "body": "あ" * (MAX_BODY_BYTES // 3 + 1)}, context)[0] == 413


def test_what_aws_refuses_is_an_error_that_an_alarm_counts(account: Account, context: SimpleNamespace) -> None:
    with pytest.raises(SESSION.client("secretsmanager").exceptions.ResourceNotFoundException):
        module.handler(event(), context)

"""POST /labels/VENDOR, signed -> 202 {"request_id", "batch_id"}; 401, 413, 400 {"request_id", "code", "message"}.

In this order: size, signature, content. A batch goes into the inbox as one object that is never written over, so
the same call again (a retry, or a replay within the window) changes nothing and gets the same answer. What AWS
refuses is no answer of ours: the gateway says 500, the vendor sends again, an alarm counts the error.
"""

from __future__ import annotations

import json
import time
import uuid
from typing import Any

from contracts import naming
from contracts.functions import VendorCallbackEnv
from contracts.vendor_callback import VENDORS, CallbackRefused, check
from lambdas.shared.aws import client, client_error, environment, error_code
from lambdas.shared.observability import instrumented, logger
from lambdas.vendor_callback.logic import Batch, Call, Refused, batch_of, call_of

_NO_VENDOR = b"\0" * 32  # a stranger's name costs the same work and gets the same answer as a wrong signature


@instrumented("vendor_callback")
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    request_id = str(uuid.uuid4())
    logger.append_keys(request_id=request_id)
    try:
        call = call_of(event)
        batch_id = _verified(call)
        batch = batch_of(call)
        _put(batch, batch_id)
    except Refused as refused:
        logger.info("refused", code=refused.code, status=refused.status)
        return _answer(refused.status, {"request_id": request_id, "code": refused.code, "message": str(refused)})
    logger.info("received", story=batch.story, task=batch.task, batch_id=batch_id, bytes=len(call.body))
    return _answer(202, {"request_id": request_id, "batch_id": batch_id})


def _verified(call: Call) -> str:
    try:
        found = check(_secret(call.vendor), vendor=call.vendor, timestamp=call.timestamp, signature=call.signature,
                      body=call.body, now=time.time())
        if call.vendor not in VENDORS:
            raise CallbackRefused("no such vendor")
    except CallbackRefused:
        raise Refused(401, "signature_refused",
                      "needed is the vendor's signature of this body at this moment") from None
    return found


def _secret(vendor: str) -> bytes:
    """Read anew each time: a changed secret holds at once, and calls are few."""
    if vendor not in VENDORS:
        return _NO_VENDOR
    found = client("secretsmanager").get_secret_value(SecretId=naming.vendor_secret(vendor))
    return str(found["SecretString"]).encode()


def _put(batch: Batch, batch_id: str) -> None:
    s3, bucket = client("s3"), environment(VendorCallbackEnv).LAKE_BUCKET
    task = naming.task_key(batch.story, batch.task)
    if not s3.list_objects_v2(Bucket=bucket, Prefix=task, MaxKeys=1).get("KeyCount"):
        raise Refused(400, "unknown_task", "task must be one that was sent out for this story")
    try:
        s3.put_object(Bucket=bucket, Key=naming.delivery_key(batch.story, batch.task, batch_id), Body=batch.content,
                      ContentType="application/json", IfNoneMatch="*")
    except client_error() as error:
        if error_code(error) != "PreconditionFailed":  # it is there: the first call was heard
            raise


def _answer(status: int, body: dict[str, str]) -> dict[str, Any]:
    return {"statusCode": status, "headers": {"content-type": "application/json"}, "body": json.dumps(body)}

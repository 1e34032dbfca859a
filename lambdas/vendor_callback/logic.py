"""What a vendor's call-back must be before anything is done with it. Plain Python: no AWS, no clock of its own."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from contracts.label_tasks import DELIVERED, TaskError, check_name
from contracts.stories import CONTRACTS
from contracts.vendor_callback import MAX_BODY_BYTES, SIGNATURE_HEADER, TIMESTAMP_HEADER

_ROWS = DELIVERED["vendor"]


class Refused(Exception):
    """The answer that the caller gets; the text says what is allowed and quotes nothing of the body."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code


@dataclass(frozen=True, kw_only=True)
class Call:
    """A request as it came: nothing in it is trusted yet."""

    vendor: str
    timestamp: str
    signature: str
    body: bytes


@dataclass(frozen=True, kw_only=True)
class Batch:
    story: str
    task: str
    content: bytes  # of the delivery, as the settle job reads it


def call_of(event: Mapping[str, Any]) -> Call:
    """An API Gateway event (payload format 2.0). Refused 413 over `MAX_BODY_BYTES`, 400 when it can't be read."""
    headers = {str(name).lower(): str(value) for name, value in (event.get("headers") or {}).items()}
    text = str(event.get("body") or "")
    if len(text) > MAX_BODY_BYTES * 4 / 3 + 4:  # as base64 it may be a third longer
        raise _too_large()
    try:
        body = base64.b64decode(text, validate=True) if event.get("isBase64Encoded") else text.encode()
    except (binascii.Error, UnicodeEncodeError):
        raise Refused(400, "invalid_body", "the body must be JSON in UTF-8") from None
    if len(body) > MAX_BODY_BYTES:
        raise _too_large()
    return Call(vendor=str((event.get("pathParameters") or {}).get("vendor", "")), body=body,
                timestamp=headers.get(TIMESTAMP_HEADER, ""), signature=headers.get(SIGNATURE_HEADER, ""))


def _too_large() -> Refused:
    return Refused(413, "too_large", f"a batch has at most {MAX_BODY_BYTES} bytes: send it in parts")


def batch_of(call: Call) -> Batch:
    """{"story", "task", "votes": [...]} of a call whose signature holds; the votes are checked by the settle job."""
    try:
        raw = json.loads(call.body)
    except (ValueError, RecursionError):
        raise Refused(400, "invalid_json", "the body must be one JSON object in UTF-8") from None
    if not isinstance(raw, dict) or set(raw) != {"story", "task", _ROWS}:
        raise Refused(400, "invalid_batch", f"the body must have exactly the fields story, task and {_ROWS}")
    if not isinstance(raw["story"], str) or raw["story"] not in CONTRACTS:
        raise Refused(400, "unknown_story", f"story must be one of {', '.join(CONTRACTS)}")
    try:
        task = check_name(raw["task"], "task")
    except TaskError as error:
        raise Refused(400, "invalid_batch", str(error)) from None
    if not isinstance(raw[_ROWS], list) or not raw[_ROWS]:
        raise Refused(400, "invalid_batch", f"{_ROWS} must be a list with at least one entry")
    content = json.dumps({"by": call.vendor, _ROWS: raw[_ROWS]}, sort_keys=True, separators=(",", ":")).encode()
    return Batch(story=raw["story"], task=task, content=content)

"""What goes into an intent endpoint and what comes out; shared by the fabric and the container.

Bad input is the caller's error: a code and a request_id, never a stack trace and never the text.
"""

from __future__ import annotations

import json
import re
import unicodedata
import uuid
from dataclasses import dataclass
from typing import Any

from contracts.taxonomies import COHORTS, DAYPARTS

MAX_BODY_BYTES = 16_384
MAX_TEXT_CHARS = 2_000
FALLBACK_SOURCE = "fallback"  # `source` of an answer that no model gave

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class BadRequest(ValueError):
    """A request that can't be answered: HTTP status, a stable code, a message without customer text."""

    def __init__(self, status: int, code: str, message: str, request_id: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.request_id = status, code, message, request_id

    def to_body(self) -> dict[str, Any]:
        return {"error": {"code": self.code, "message": self.message, "request_id": self.request_id}}


@dataclass(frozen=True, kw_only=True)
class IntentRequest:
    text: str
    request_id: str
    cohort: str | None = None
    daypart: str | None = None


def new_request_id() -> str:
    return str(uuid.uuid4())


def check_request_id(raw: object) -> str | None:
    """The caller's request_id if it is a UUID (any case), else None."""
    if isinstance(raw, str) and _UUID.fullmatch(raw.lower()):
        return raw.lower()
    return None


def normalised(text: str) -> str:
    """What is asked and what a cache key is made of: NFC, white space as single spaces.

    Both are canonically the same text to a reader and to Unicode. Nothing that could change an answer is
    folded (case, width, punctuation): a hit must be what the model would have said.
    """
    return " ".join(unicodedata.normalize("NFC", text).split())


def parse_request(body: bytes, *, request_id: str | None = None) -> IntentRequest:
    """Parse one request body: {"text", "request_id"?, "cohort"?, "daypart"?}.

    `request_id` is the one of the transport's header; it wins over the body's. One is born when
    neither is a UUID.

    Raises
    ------
    BadRequest
        413 body_too_large · 400 invalid_json, not_an_object, text_missing, text_not_a_string,
        text_empty, text_too_long, control_characters, unpaired_surrogate.
    """
    rid = check_request_id(request_id) or new_request_id()
    if len(body) > MAX_BODY_BYTES:
        raise BadRequest(
            413, "body_too_large", f"a request has at most {MAX_BODY_BYTES} bytes, got {len(body)}", rid
        )
    try:
        raw = json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError):  # ValueError also for an integer of 4,301 digits
        raise BadRequest(400, "invalid_json", "the body must be one JSON object in UTF-8", rid) from None
    if not isinstance(raw, dict):
        raise BadRequest(400, "not_an_object", 'the body must be a JSON object like {"text": "..."}', rid)
    if check_request_id(request_id) is None:
        rid = check_request_id(raw.get("request_id")) or rid
    return IntentRequest(
        text=_checked_text(raw.get("text"), rid),
        request_id=rid,
        cohort=_known(raw.get("cohort"), COHORTS),
        daypart=_known(raw.get("daypart"), DAYPARTS),
    )


def _known(value: object, allowed: tuple[str, ...]) -> str | None:
    """Anything else counts as not given: these two reach capture records, which hold no free text."""
    return value if isinstance(value, str) and value in allowed else None


def _checked_text(text: object, rid: str) -> str:
    if text is None:
        raise BadRequest(400, "text_missing", 'field "text" is missing', rid)
    if not isinstance(text, str):
        raise BadRequest(
            400, "text_not_a_string", f'field "text" must be a string, got {type(text).__name__}', rid
        )
    if not text.strip():
        raise BadRequest(400, "text_empty", 'field "text" must not be empty', rid)
    if len(text) > MAX_TEXT_CHARS:
        raise BadRequest(400, "text_too_long", f"at most {MAX_TEXT_CHARS} characters, got {len(text)}", rid)
    for char in text:
        category = unicodedata.category(char)
        if category == "Cs":
            raise BadRequest(
                400, "unpaired_surrogate", "the text holds an unpaired surrogate; send valid Unicode", rid
            )
        if category == "Cc" and char not in "\t\n\r":
            raise BadRequest(400, "control_characters", "the text holds control characters; remove them", rid)
    return text

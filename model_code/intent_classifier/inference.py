"""Bytes in, status and JSON bytes out: everything of a request but HTTP.

A bad request gets a 4xx with code and request_id; an unexpected error inside the model gets a 500
with the same shape, and its type (never its text, which could quote the customer) goes to the log.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass

from contracts import served_log
from contracts.inference import BadRequest, check_request_id, new_request_id, parse_request
from contracts.language import detect_language
from model_code.common.log import log_event
from model_code.intent_classifier.predictor import Predictor

_ATTRIBUTE = "request_id="


def header_request_id(custom_attributes: str | None) -> str | None:
    """The request_id in X-Amzn-SageMaker-Custom-Attributes (`request_id=UUID`, more may follow after commas)."""
    for part in (custom_attributes or "").split(","):
        if part.strip().startswith(_ATTRIBUTE):
            return check_request_id(part.strip().removeprefix(_ATTRIBUTE))
    return None


@dataclass(frozen=True, kw_only=True)
class Handler:
    """One model behind `handle`; call it from one thread."""

    predictor: Predictor
    story: str
    model_version: str
    log: Callable[..., None] = log_event

    def handle(self, body: bytes, *, request_id: str | None = None) -> tuple[int, bytes]:
        started = time.perf_counter()
        try:
            request = parse_request(body, request_id=request_id)
        except BadRequest as bad:
            self._log(started, bad.request_id, bad.status, code=bad.code, bytes=len(body))
            return bad.status, json.dumps(bad.to_body()).encode()
        try:
            found = self.predictor.predict(request.text)
        except (RuntimeError, ValueError, IndexError) as error:  # what OpenVINO and the tokeniser raise
            self._log(started, request.request_id, 500, language=detect_language(request.text), code="model_error",
                      error=type(error).__name__)
            return self.failure(500, "model_error", "the model could not answer", request.request_id)
        self._log(started, request.request_id, 200, language=found.language, answer=found.intent, source=found.source,
                  confidence=round(found.confidence, 6), chars=found.features["chars"], tokens=found.features["tokens"])
        return 200, json.dumps({
            "request_id": request.request_id, "story": self.story, "model_version": self.model_version,
            "language": found.language, "intent": found.intent, "confidence": round(found.confidence, 6),
            "source": found.source, "features": found.features,
        }).encode()

    def failure(self, status: int, code: str, message: str, request_id: str | None) -> tuple[int, bytes]:
        """An error answer made outside `handle`, for example by the HTTP shell."""
        bad = BadRequest(status, code, message, check_request_id(request_id) or new_request_id())
        return status, json.dumps(bad.to_body()).encode()

    def _log(self, started: float, request_id: str, status: int, **fields: object) -> None:
        self.log(served_log.EVENT, request_id=request_id, bucket=served_log.bucket(request_id), status=status,
                 story=self.story, model_version=self.model_version,
                 ms=round((time.perf_counter() - started) * 1000, 3), **fields)


__all__ = ["Handler", "header_request_id"]

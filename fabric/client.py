"""Ask a story's endpoint: request id, deadline, typed errors, capture.

A refusal that came at once (no connection, throttled) is repeated once; a slow answer is not, for a
chatbot turn can't wait and a repeat doubles the load on a fleet that is slow already. botocore's own
retries are off: their pauses last up to a second. A capture that fails never fails the answer; it is
counted in `capture_failures` and logged by id.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from contracts import naming
from contracts.inference import BadRequest, check_request_id, new_request_id, parse_request
from fabric.capture import capture_record, to_line

log = logging.getLogger("mangaassist.fabric")

# Shares of the deadline: a failed connection (1/4) and a whole second attempt (1/4 + 1/2) fit into it.
CONNECT_SHARE, READ_SHARE = 0.25, 0.5
MIN_DEADLINE_MS = 10
_REPEATABLE = frozenset(
    {"ThrottlingException", "ServiceUnavailable", "ModelNotReadyException", "InternalFailure"}
)


class Unavailable(Exception):
    """The model gave no answer in time. `code` says why: timeout, unreachable, model_error or refused."""

    def __init__(self, code: str, message: str, request_id: str, *, repeatable: bool = False) -> None:
        super().__init__(f"{message} (request_id {request_id})")
        self.code, self.message, self.request_id, self.repeatable = code, message, request_id, repeatable


class Fabric:
    """Client of one story's endpoint. Thread-safe; make one and keep it."""

    def __init__(self, story: str, *, session: Any = None, runtime: Any = None, firehose: Any = None,
                 deadline_ms: int = 1_000, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        """
        Parameters
        ----------
        session : boto3 session; the default one when absent.
        runtime, firehose : clients to use instead of ones made from the session. A `runtime` of your own
            brings its own timeouts.
        deadline_ms : the longest wait for an answer, a repeat included. Filing the capture record comes
            after it and takes at most three quarters of it again.
        """
        if deadline_ms < MIN_DEADLINE_MS:
            raise ValueError(f"deadline_ms must be {MIN_DEADLINE_MS} or more, got {deadline_ms}")
        self.story = naming.check_slug(story)
        self._deadline_s = deadline_ms / 1000
        self._runtime = runtime or _client("sagemaker-runtime", session, self._deadline_s)
        self._firehose = firehose or _client("firehose", session, self._deadline_s)
        self._clock = clock
        self.capture_failures = 0

    def predict(self, text: str, *, request_id: str | None = None, cohort: str | None = None,
                daypart: str | None = None) -> dict[str, Any]:
        """The endpoint's answer.

        A dict with request_id, story, model_version, language, intent, confidence, source, features.

        Raises
        ------
        BadRequest
            The text can't be answered: the container's code (or ours, which is the same check made
            before anything is sent) and the request_id.
        Unavailable
            No answer within the deadline; the model, its endpoint or the network is at fault.
        """
        rid = check_request_id(request_id) or new_request_id()
        if not isinstance(text, str):
            given = type(text).__name__
            raise BadRequest(400, "text_not_a_string", f'field "text" must be a string, got {given}', rid)
        body = json.dumps({"text": text, "request_id": rid, "cohort": cohort, "daypart": daypart}).encode()
        request = parse_request(body, request_id=rid)
        started = time.perf_counter()
        answer = self._ask(body, rid, started)
        latency_ms = (time.perf_counter() - started) * 1000
        self._capture(answer, rid, cohort=request.cohort, daypart=request.daypart, latency_ms=latency_ms)
        return answer

    def _ask(self, body: bytes, rid: str, started: float) -> dict[str, Any]:
        try:
            return self._ask_once(body, rid)
        except Unavailable as first:
            in_time = time.perf_counter() - started <= CONNECT_SHARE * self._deadline_s
            if not (first.repeatable and in_time):
                raise
            return self._ask_once(body, rid)

    def _ask_once(self, body: bytes, rid: str) -> dict[str, Any]:
        from botocore.exceptions import BotoCoreError, ClientError, ReadTimeoutError

        try:
            response = self._runtime.invoke_endpoint(
                EndpointName=naming.endpoint(self.story), Body=body, CustomAttributes=f"request_id={rid}",
                ContentType="application/json", Accept="application/json",
            )
            answer = json.loads(response["Body"].read())
        except ClientError as error:
            raise _from_client_error(error.response, rid) from None
        except ReadTimeoutError:
            raise Unavailable("timeout", "the model did not answer in time", rid) from None
        except BotoCoreError as error:  # no connection, no credentials
            message = f"the model can't be asked ({type(error).__name__})"
            raise Unavailable("unreachable", message, rid, repeatable=True) from None
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise Unavailable("model_error", "the model's answer is no JSON object", rid)
        return answer

    def _capture(self, answer: Mapping[str, Any], rid: str, *, cohort: str | None, daypart: str | None,
                 latency_ms: float) -> None:
        from botocore.exceptions import BotoCoreError, ClientError

        record = capture_record(answer, cohort=cohort, daypart=daypart, latency_ms=latency_ms,
                                at=self._clock())
        try:
            self._firehose.put_record(DeliveryStreamName=naming.capture_stream(self.story),
                                      Record={"Data": to_line(record)})
        except (BotoCoreError, ClientError) as error:
            self.capture_failures += 1
            log.warning("capture failed: request_id=%s error=%s", rid, type(error).__name__)


def _client(service: str, session: Any, deadline_s: float) -> Any:
    import boto3
    from botocore.config import Config

    config = Config(connect_timeout=CONNECT_SHARE * deadline_s, read_timeout=READ_SHARE * deadline_s,
                    retries={"mode": "standard", "total_max_attempts": 1})
    return (session or boto3.Session()).client(service, config=config)


def _from_client_error(response: Mapping[str, Any], rid: str) -> Exception:
    """A 4xx of the container comes back as a ModelError with the container's body in OriginalMessage."""
    code = str(response.get("Error", {}).get("Code", ""))
    status = response.get("OriginalStatusCode")
    if code != "ModelError" or not isinstance(status, int):
        message = f"the endpoint refused the request ({code or 'unknown error'})"
        return Unavailable("refused", message, rid, repeatable=code in _REPEATABLE)
    try:
        found = json.loads(response.get("OriginalMessage", ""))["error"]
        said, message, rid = str(found["code"]), str(found["message"]), str(found["request_id"])
    except (ValueError, KeyError, TypeError):
        return Unavailable("model_error", f"the container answered {status} without a code", rid)
    if 400 <= status < 500:
        return BadRequest(status, said, message, rid)
    return Unavailable("model_error", f"the container answered {status}: {said}", rid)

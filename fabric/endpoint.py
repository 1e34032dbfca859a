"""Ask a story's endpoint once, or twice when the first refusal came at once: budget and typed errors.

A refusal that came at once (no connection, throttled) is repeated once; a slow answer is not, for a
chatbot turn can't wait and a repeat doubles the load on a fleet that is slow already. botocore's own
retries are off: their pauses last up to a second.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

from contracts import naming
from contracts.inference import BadRequest

# Shares of the deadline: a look-up in the cache, a failed connection and a whole second attempt fit into it.
CACHE_SHARE, CONNECT_SHARE, READ_SHARE = 0.1, 0.15, 0.6
_REPEATABLE = frozenset(
    {"ThrottlingException", "ServiceUnavailable", "ModelNotReadyException", "InternalFailure"}
)


class Unavailable(Exception):
    """The model gave no answer in time. `code` says why: timeout, unreachable, model_error, refused or pinned."""

    def __init__(self, code: str, message: str, request_id: str, *, repeatable: bool = False) -> None:
        super().__init__(f"{message} (request_id {request_id})")
        self.code, self.message, self.request_id, self.repeatable = code, message, request_id, repeatable


class Endpoint:
    """A `runtime` of your own brings its own timeouts; botocore's bound each wait on a socket, not their sum."""

    def __init__(self, story: str, runtime: Any, *, deadline_s: float) -> None:
        self._name, self._runtime, self._deadline_s = naming.endpoint(story), runtime, deadline_s

    def ask(self, body: bytes, rid: str, started: float) -> dict[str, Any]:
        """The answer to a question that was put at `started` (time.perf_counter).

        Raises BadRequest or Unavailable.
        """
        try:
            return self._ask_once(body, rid)
        except Unavailable as first:
            if not (first.repeatable and self.may_repeat(started)):
                raise
            return self._ask_once(body, rid)

    def may_repeat(self, started: float) -> bool:
        """Whether the whole of one more attempt still fits into the budget."""
        return time.perf_counter() - started <= (1 - CONNECT_SHARE - READ_SHARE) * self._deadline_s

    def _ask_once(self, body: bytes, rid: str) -> dict[str, Any]:
        from botocore.exceptions import BotoCoreError, ClientError, ReadTimeoutError

        try:
            response = self._runtime.invoke_endpoint(
                EndpointName=self._name, Body=body, CustomAttributes=f"request_id={rid}",
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

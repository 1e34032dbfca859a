"""Runs one Lambda execution environment. Stands alone: it is started with `python -S` and sees only the
function's code, its layers and the packages of the Lambda runtime (boto3 and what boto3 needs).

Protocol, one JSON document per line: in {init}, out {"status": "ready"|"error"}, then in {"event", "ctx"},
out {"status": "ok", "result": [succeeded, payload]}. Whatever the handler prints goes to stderr, the log.
"""

import importlib
import json
import os
import sys
import time
import traceback
from typing import Any

_pipe = os.fdopen(os.dup(1), "w", buffering=1)
os.dup2(2, 1)  # prints of C extensions too must not reach the protocol


class Context:
    identity = None
    client_context = None

    def __init__(self, init: dict, call: dict) -> None:
        name = init["function_name"]
        self.function_name = name
        self.function_version = os.environ["AWS_LAMBDA_FUNCTION_VERSION"]
        self.memory_limit_in_mb = str(init["memory"])
        self.invoked_function_arn = call.get("invoked_function_arn") or init["arn"]
        self.aws_request_id = call["request_id"]
        self.log_group_name = os.environ["AWS_LAMBDA_LOG_GROUP_NAME"]
        self.log_stream_name = os.environ["AWS_LAMBDA_LOG_STREAM_NAME"]
        self._deadline = time.time() + call["timeout_ms"] / 1000

    def get_remaining_time_in_millis(self) -> int:
        return max(0, int((self._deadline - time.time()) * 1000))


def _answer(document: dict) -> None:
    _pipe.write(json.dumps(document) + "\n")


def _error(error: BaseException, request_id: str = "") -> dict:
    return {
        "errorMessage": str(error),
        "errorType": type(error).__name__,
        "requestId": request_id,
        "stackTrace": traceback.format_tb(error.__traceback__)[1:],
    }


def _load(init: dict) -> tuple[Any, dict | None]:
    sys.path[:] = [*init["paths"], *sys.path[1:]]  # in place of this script's own folder
    try:
        module = importlib.import_module(init["module"])
    except ImportError as error:
        traceback.print_exc()
        text = f"Unable to import module '{init['module']}': {error}"
        return None, {"errorMessage": text, "errorType": "Runtime.ImportModuleError", "stackTrace": []}
    except SyntaxError as error:
        traceback.print_exc()
        text = f"Syntax error in module '{init['module']}': {error}"
        return None, {"errorMessage": text, "errorType": "Runtime.UserCodeSyntaxError", "stackTrace": []}
    except BaseException as error:  # noqa: BLE001  (whatever a module raises is its own init error)
        traceback.print_exc()
        return None, _error(error)
    handler = getattr(module, init["handler"], None)
    if handler is None:
        text = f"Handler '{init['handler']}' missing on module '{init['module']}'"
        return None, {"errorMessage": text, "errorType": "Runtime.HandlerNotFound", "stackTrace": []}
    return handler, None


def _call(handler: Any, init: dict, message: dict) -> list:
    call = message["ctx"]
    if call.get("trace_id"):
        os.environ["_X_AMZN_TRACE_ID"] = call["trace_id"]
    try:
        result = handler(message["event"], Context(init, call))
    except BaseException as error:  # noqa: BLE001  (SystemExit too: the environment answers and lives on)
        traceback.print_exc()
        return [False, _error(error, call["request_id"])]
    try:
        return [True, json.loads(json.dumps(result))]
    except (TypeError, ValueError) as error:
        text = f"Unable to marshal response: {error}"
        return [False, {"errorMessage": text, "errorType": "Runtime.MarshalError", "requestId": call["request_id"],
                        "stackTrace": []}]


def main() -> None:
    init = json.loads(sys.stdin.readline())
    handler, error = _load(init)
    sys.stderr.flush()
    if error:
        _answer({"status": "error", "error": error})
        return
    _answer({"status": "ready"})
    for line in sys.stdin:
        result = _call(handler, init, json.loads(line))
        sys.stdout.flush()
        sys.stderr.flush()
        _answer({"status": "ok", "result": result})


if __name__ == "__main__":
    main()

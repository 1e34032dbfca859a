"""Lambda: execution environments that see what they would see on AWS, and errors with AWS's names.

ministack starts a function with the server's own interpreter and packages, and calls every failure
`Runtime.HandlerError`; a state machine that catches by exception name would never match. Code and layers are
unpacked once per content, so that a cold start does not pay for it again.
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib.util
import io
import json
import logging
import os
import queue
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from local import roles
from local.config import LocalConfig

_LOG = logging.getLogger("local.functions")
_RUNTIME_PACKAGES = ("boto3", "botocore", "s3transfer", "jmespath", "dateutil", "urllib3", "six")
_FROM_SERVER = ("PATH", "LANG", "TMPDIR", "HOME")  # the only variables of the server that a function sees
_HANGING: dict[str, float] = {}  # function name -> seconds until its invocation times out
_WORKER = Path(__file__).with_name("lambda_worker.py")


class InitFailed(Exception):
    """The module did not load; carries the payload that the caller of the function gets."""

    def __init__(self, payload: dict[str, Any]) -> None:
        super().__init__(payload.get("errorMessage", "init failed"))
        self.payload = payload


def install(config: LocalConfig) -> None:
    from ministack.core import lambda_runtime
    from ministack.services import lambda_svc

    runtime_dir = _runtime_packages(config.data_dir / "lambda-runtime")
    unpacker = _Unpacker(config.data_dir / "functions")
    lambda_runtime.Worker = _worker_class(lambda_runtime.Worker, config, runtime_dir, unpacker)
    lambda_svc._execute_function_warm = _execute_warm
    lambda_runtime.execution_credentials = _execution_credentials
    lambda_svc.execution_credentials = _execution_credentials
    create = lambda_svc._create_function
    lambda_svc._create_function = lambda data: _refused(data) or create(data)


def _refused(data: dict[str, Any]) -> Any:
    from ministack.core.responses import error_response_json

    try:
        roles.check_trust(data.get("Role", ""), "lambda.amazonaws.com")
    except roles.RoleRefused as error:
        return error_response_json("InvalidParameterValueException", "The role defined for the function cannot be "
                                   f"assumed by Lambda. {error}", 400)
    return None


def _runtime_packages(folder: Path) -> Path:
    """A folder of links to the packages that the Lambda runtime really has."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in _RUNTIME_PACKAGES:
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None:
            raise RuntimeError(f"{name} is part of the Lambda runtime and must be installed beside the server")
        origin = Path(spec.origin)
        source = origin.parent if origin.name == "__init__.py" else origin
        link = folder / source.name
        if not link.exists():
            link.unlink(missing_ok=True)
            link.symlink_to(source)
    return folder


class _Unpacker:
    """Archives unpacked by content: same bytes, same folder."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._lock = threading.Lock()

    def unpack(self, archive: bytes) -> Path:
        folder = self._root / hashlib.sha256(archive).hexdigest()[:24]
        with self._lock:
            if not folder.exists():
                part = folder.with_suffix(".part")
                part.mkdir(parents=True, exist_ok=True)
                with zipfile.ZipFile(io.BytesIO(archive)) as zipped:
                    zipped.extractall(part)  # zipfile strips absolute and parent paths itself
                part.rename(folder)
        return folder


def _execution_credentials(function: dict[str, Any]) -> dict[str, str]:
    keys = roles.credentials(function.get("Role", ""), "lambda.amazonaws.com",
                             function.get("FunctionName", "function")[:64])
    return {name.upper(): value for name, value in keys.items()}


def _worker_class(base: type, config: LocalConfig, runtime_dir: Path, unpacker: _Unpacker) -> type:
    class FunctionWorker(base):  # type: ignore[misc]
        def _spawn(self) -> None:
            if not str(self.config.get("Runtime", "")).startswith("python"):
                super()._spawn()
                return
            code = unpacker.unpack(self.code_zip)
            layers = [unpacker.unpack(archive) for archive in _layer_archives(self.config)]
            process = self._proc = subprocess.Popen(
                [sys.executable, "-S", str(_WORKER)], cwd=code, text=True, bufsize=1,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                env=_environment(self.config, config, code),
            )
            assert process.stdin is not None
            assert process.stdout is not None
            self._stderr_queue: queue.Queue[str] = queue.Queue()
            self._stderr_thread = threading.Thread(target=self._read_stderr, daemon=True)
            self._stderr_thread.start()
            process.stdin.write(json.dumps(_init_message(self.config, code, layers, runtime_dir)) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
            answer: dict[str, Any] = json.loads(line) if line else {"status": "error", "error": {
                "errorType": "Runtime.ExitError", "errorMessage": "Runtime exited during initialisation"}}
            if answer["status"] != "ready":
                process.wait(timeout=5)
                raise InitFailed({**answer["error"], "log": self._drain_stderr_bounded()})
            self._start_time = time.time()

    return FunctionWorker


def _layer_archives(function: dict[str, Any]) -> list[bytes]:
    from ministack.services.lambda_svc import _resolve_layer_zip

    archives = []
    for reference in function.get("Layers") or []:
        archive = _resolve_layer_zip(reference)
        if not archive:
            raise InitFailed({"errorType": "Runtime.LayerNotFound",
                              "errorMessage": f"layer {reference} of {function['FunctionName']} is not there"})
        archives.append(archive)
    return archives


def _environment(function: dict[str, Any], config: LocalConfig, code: Path) -> dict[str, str]:
    name = function["FunctionName"]
    own = {k: str(v) for k, v in ((function.get("Environment") or {}).get("Variables") or {}).items()}
    region = function["FunctionArn"].split(":")[3]
    return {
        **{key: os.environ[key] for key in _FROM_SERVER if key in os.environ},
        "TZ": ":UTC",
        "PYTHONPYCACHEPREFIX": str(config.data_dir / "functions" / "pycache"),
        "AWS_ENDPOINT_URL": config.endpoint_url,
        "AWS_DISABLE_HOST_PREFIX_INJECTION": "true",
        "AWS_EC2_METADATA_DISABLED": "true",
        **own,
        **_execution_credentials(function),
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
        "AWS_EXECUTION_ENV": f"AWS_Lambda_{function.get('Runtime', 'python3.12')}",
        "AWS_LAMBDA_FUNCTION_NAME": name,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.get("MemorySize", 128)),
        "AWS_LAMBDA_FUNCTION_VERSION": function.get("Version", "$LATEST"),
        "AWS_LAMBDA_LOG_GROUP_NAME": (function.get("LoggingConfig") or {}).get("LogGroup") or f"/aws/lambda/{name}",
        "AWS_LAMBDA_LOG_STREAM_NAME": f"{time.strftime('%Y/%m/%d')}/[{function.get('Version', '$LATEST')}]embedded",
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "LAMBDA_TASK_ROOT": str(code),
        "_HANDLER": function.get("Handler", ""),
    }


def _init_message(function: dict[str, Any], code: Path, layers: list[Path], runtime_dir: Path) -> dict[str, Any]:
    module, _, handler = function["Handler"].rpartition(".")
    layer_paths = [str(path) for layer in layers
                   for path in (*sorted(layer.glob("python/lib/python*/site-packages")), layer / "python", layer)]
    return {
        "paths": [str(code), *layer_paths, str(runtime_dir)],
        "module": module.replace("/", "."),
        "handler": handler,
        "function_name": function["FunctionName"],
        "memory": function.get("MemorySize", 128),
        "arn": function["FunctionArn"],
    }


def _execute_warm(function: dict[str, Any], event: Any, request_id: str) -> dict[str, Any]:
    """In place of lambda_svc._execute_function_warm: the same pool, AWS's error payloads."""
    from ministack.core import lambda_runtime
    from ministack.services import lambda_svc

    settings = function.get("config") or function
    archive = function.get("code_zip")
    if not archive:
        return _failed({"errorType": "Runtime.CodeNotFound",
                        "errorMessage": f"function {settings.get('FunctionName')} has no code"}, "")
    lambda_svc._ensure_reaper_thread()
    worker, _ = lambda_runtime.acquire_worker(
        settings["FunctionName"], settings, archive, qualifier=settings.get("Version", "$LATEST"))
    limit = _HANGING.get(settings["FunctionName"])
    worker.config = {**settings, "Timeout": limit} if limit is not None else settings
    try:
        answer = worker.invoke(event, request_id, invoked_function_arn=settings.get("FunctionArn", ""),
                               trace_id=lambda_svc._xray_trace_id_for_invocation(settings),
                               depth=lambda_svc._invoke_depth.get())
    except InitFailed as error:
        return _failed({k: v for k, v in error.payload.items() if k != "log"}, error.payload.get("log", ""))
    except roles.RoleRefused as error:
        return _failed({"errorType": "AccessDeniedException", "errorMessage": str(error)}, "")
    finally:
        lambda_runtime.release_worker(worker)
    return _outcome(answer, request_id)


def _outcome(answer: dict[str, Any], request_id: str) -> dict[str, Any]:
    log = answer.get("log", "")
    if answer.get("status") != "ok":
        text = str(answer.get("error", ""))
        kind = "Sandbox.Timedout" if "timed out" in text else "Runtime.ExitError"
        if kind == "Runtime.ExitError":
            text = "Runtime exited without providing a reason"
        return _failed({"errorType": kind, "errorMessage": f"RequestId: {request_id} Error: {text}"}, log)
    result = answer["result"]
    if not isinstance(result, list):  # a Node.js worker answers with the bare value
        return {"body": result, "log": log}
    succeeded, payload = result
    return {"body": payload, "log": log} if succeeded else _failed(payload, log)


def _failed(payload: dict[str, Any], log: str) -> dict[str, Any]:
    return {"body": payload, "error": True, "log": log}


# -- faults -------------------------------------------------------------------------------------------------


@contextmanager
def hanging(function_arn: str, seconds: float) -> Iterator[None]:
    """Within the block an invocation has so many seconds, and none of the function's own calls is answered."""
    name = function_arn.partition(":function:")[2].partition(":")[0]
    _HANGING[name] = seconds
    try:
        yield
    finally:
        _HANGING.pop(name, None)


async def hold(session: str) -> None:
    """Keep the answer of a call, made by this ROLE/SESSION, until its function has timed out."""
    name = session.rpartition("/")[2]
    while name in _HANGING:
        await asyncio.sleep(0.05)


def kill_worker(session: str) -> bool:
    """SIGKILL every execution environment that is at work for this ROLE/SESSION; False when there is none."""
    from ministack.core import lambda_runtime

    name, killed = session.rpartition("/")[2], False
    for key, workers in list(lambda_runtime._workers.items()):
        for worker in workers:
            if f":{name}:" in key and worker.in_use and worker._proc is not None:
                worker._proc.send_signal(signal.SIGKILL)
                killed = True
    return killed

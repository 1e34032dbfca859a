"""HTTP shell of the serving container: `serve` verifies the model, loads it, then answers.

    python -m model_code.serving.server serve

GET /ping -> 200 · POST /invocations -> the handler's status and JSON. Environment: MODEL_MANIFEST_SHA256,
MODEL_PUBLIC_KEY, MODEL_VERSION, STORY, PREFILTER_ENABLED (true or false), MODEL_SHADOW (true or false, which it is
when absent), SAGEMAKER_BIND_TO_PORT (8080).
The model folder is SM_MODEL_DIR or /opt/ml/model.

One worker thread answers, another compiles at the start; the event loop stays free for pings. A body that is too
large is drained and thrown away chunk by chunk, then answered 413: a server that closes the socket on a
client that is still sending makes it see a broken pipe instead of the answer.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from contracts import served_log, stories
from contracts.environment import Environment
from contracts.inference import MAX_BODY_BYTES
from contracts.manifests import ManifestError
from model_code.common.log import log_event
from model_code.common.sagemaker_job import base_dir
from model_code.common.signing import Trust, verify_folder
from model_code.intent_classifier.inference import Handler, header_request_id
from model_code.intent_classifier.predictor import Predictor
from model_code.serving.served_metrics import ServedLog

MAX_DRAINED_BYTES = 32 * 1024 * 1024  # beyond this the connection is closed: 25 MB is SageMaker's own limit
CUSTOM_ATTRIBUTES = "x-amzn-sagemaker-custom-attributes"


@dataclass(frozen=True, kw_only=True)
class ServingEnv(Environment):
    MODEL_MANIFEST_SHA256: str
    MODEL_PUBLIC_KEY: str
    MODEL_VERSION: str
    STORY: str
    PREFILTER_ENABLED: str  # "true" or "false": bool("false") is True
    MODEL_SHADOW: str = "false"  # "true" for a model that gets copies of requests


def load_handler(environ: ServingEnv, folder: Path) -> Handler:
    """Verify, then load. ManifestError: nothing of the artifact was opened but its bytes were hashed."""
    for name in ("PREFILTER_ENABLED", "MODEL_SHADOW"):
        if getattr(environ, name) not in ("true", "false"):
            raise ValueError(f"{name} must be true or false, got {getattr(environ, name)!r}")
    verify_folder(folder, Trust(manifest_sha256=environ.MODEL_MANIFEST_SHA256, public_key=environ.MODEL_PUBLIC_KEY,
                                story=environ.STORY))
    predictor = Predictor(folder / "serving", threads=1, prefilter=environ.PREFILTER_ENABLED == "true")
    predictor.warm_up()
    threading.Thread(target=specialise, args=(predictor,), name="specialise", daemon=True).start()
    return Handler(predictor=predictor, story=environ.STORY, model_version=environ.MODEL_VERSION,
                   log=ServedLog(story=stories.story(environ.STORY), counted_as=served_log.counted_as(
                       environ.MODEL_VERSION, shadow=environ.MODEL_SHADOW == "true")))


def specialise(predictor: Predictor) -> None:
    """Beside the first answers, which are slower meanwhile: better than none for another second or two.

    Where it fails, answers stay a third slower than those that were evaluated, and the log says so.
    """
    try:
        predictor.specialise()
    except (RuntimeError, MemoryError) as error:  # what OpenVINO raises
        log_event("not specialised", error=type(error).__name__)
    else:
        log_event("specialised")


async def read_body(request: Request) -> bytes | None:
    """The body, or None when it is larger than allowed; never more than the limit is kept in memory."""
    kept, seen = bytearray(), 0
    async for chunk in request.stream():
        seen += len(chunk)
        if seen > MAX_DRAINED_BYTES:
            return None
        if seen <= MAX_BODY_BYTES:
            kept += chunk
        else:
            kept.clear()
    return bytes(kept) if seen <= MAX_BODY_BYTES else None


def make_app(handler: Handler) -> Starlette:
    worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="model")

    async def ping(_: Request) -> Response:
        return Response(status_code=200)

    async def invocations(request: Request) -> Response:
        request_id = header_request_id(request.headers.get(CUSTOM_ATTRIBUTES))
        try:
            body = await read_body(request)
        except ClientDisconnect:
            return Response(status_code=400)  # nobody is there to read it
        if body is None:
            status, answer = handler.failure(
                413, "body_too_large", f"a request has at most {MAX_BODY_BYTES} bytes", request_id)
        else:
            loop = asyncio.get_running_loop()
            status, answer = await loop.run_in_executor(worker, lambda: handler.handle(body, request_id=request_id))
        return Response(answer, status_code=status, media_type="application/json")

    return Starlette(routes=[Route("/ping", ping), Route("/invocations", invocations, methods=["POST"])])


def main(argv: Sequence[str] | None = None) -> None:
    arguments = sys.argv[1:] if argv is None else argv
    if list(arguments) not in ([], ["serve"]):
        raise SystemExit(f"unknown command {' '.join(arguments)!r}: allowed is serve")
    folder = Path(os.environ.get("SM_MODEL_DIR") or base_dir() / "model")
    try:
        environ = ServingEnv.from_environ()
        handler = load_handler(environ, folder)
    except (ManifestError, ValueError) as error:
        log_event("refused", reason=str(error))
        raise SystemExit(1) from None
    log_event("serving", story=environ.STORY, model_version=environ.MODEL_VERSION)
    port = int(os.environ.get("SAGEMAKER_BIND_TO_PORT") or 8080)
    uvicorn.run(make_app(handler), host="0.0.0.0", port=port, log_level="warning", access_log=False,
                timeout_keep_alive=75)


if __name__ == "__main__":
    main()

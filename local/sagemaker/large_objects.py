"""Model files pass through ministack's S3 without ever being whole in the server's memory.

Three changes to its private functions: a large GET is streamed from the file, a large plain PUT is spooled to a
file while it arrives, and versions no longer keep a second copy of every body in memory.
"""

from __future__ import annotations

import asyncio
import contextvars
import mmap
import tempfile
from pathlib import Path
from typing import Any

from ministack import app
from ministack.core.iam_evaluator import pin_signed_body
from ministack.core.responses import StreamingResponse
from ministack.services import s3

LARGE = 8 << 20
_CHUNK = 1 << 20
_in_get: contextvars.ContextVar[bool] = contextvars.ContextVar("large_get", default=False)
_ministack = {
    name: getattr(module, name)
    for module, name in (
        (s3, "_get_object"), (s3, "_read_body"), (s3, "_record_object_version"), (app, "_read_request_body"),
    )
}


def install() -> None:
    s3._get_object, s3._read_body = _get_object, _read_body
    s3._record_object_version = _record_object_version
    app._read_request_body = _read_request_body


def _get_object(*args: Any, **options: Any) -> Any:
    token = _in_get.set(True)
    try:
        status, headers, body = _ministack["_get_object"](*args, **options)
    finally:
        _in_get.reset(token)
    if isinstance(body, mmap.mmap):
        headers["Content-Length"] = str(len(body))
        return status, headers, StreamingResponse(_streamer(body))
    return status, headers, body


def _streamer(body: mmap.mmap) -> Any:
    async def run(send: Any, receive: Any) -> None:
        for start in range(0, len(body), _CHUNK):
            chunk = await asyncio.to_thread(body.__getitem__, slice(start, start + _CHUNK))
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        body.close()

    return run


def _read_body(bucket: str, key: str, record: dict[str, Any]) -> Any:
    """A mapping of the file instead of its bytes: slices of it are bytes, so ranges work as before."""
    if _in_get.get() and record.get("body") is None and record.get("size", 0) > LARGE:
        path = s3._object_disk_path(bucket, key)
        if path is not None and Path(path).is_file():
            with open(path, "rb") as file:
                return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return _ministack["_read_body"](bucket, key, record)


def _record_object_version(bucket: str, key: str, *args: Any) -> Any:
    """The newest version's body is the object's own file, and a displaced one gets a file of its own."""
    version = _ministack["_record_object_version"](bucket, key, *args)
    for entry in s3._object_versions.get((bucket, key), []):
        if s3.S3_PERSIST and entry.get("is_latest"):
            entry["data"] = None
    return version


async def _read_request_body(receive: Any, method: str, headers: dict[str, str]) -> Any:
    length = headers.get("content-length", "")
    plain = "aws-chunked" not in headers.get("content-encoding", "") and "/s3/" in headers.get("authorization", "")
    unsigned = headers.get("x-amz-content-sha256") == "UNSIGNED-PAYLOAD"
    if not (method == "PUT" and plain and unsigned and length.isdigit() and int(length) > LARGE):
        return await _ministack["_read_request_body"](receive, method, headers)
    with tempfile.TemporaryFile() as file:
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise app._RequestBodyDisconnected
            file.write(message.get("body", b""))
            more = message.get("more_body", False)
        file.flush()
        if file.tell() != int(length):
            raise app._IncompleteRequestBody("Content-Length does not match request body")
        pin_signed_body(b"")  # the signature does not cover the body
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

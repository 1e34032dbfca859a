"""`labels send` and `labels deliver`: what goes out to be labelled, and what comes back by hand instead of signed.

A task is written once; a delivery is named after its bytes, so the same file twice is one delivery.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from cli.errors import CliError
from cli.target import Target
from contracts import naming
from contracts.datasets import LabelFileError
from contracts.label_tasks import LabelTask, parse_delivery, parse_task


def send(target: Target, path: Path, *, story: str) -> LabelTask:
    """Put a task where deliveries find it; CliError when another one has its name."""
    body = _read(path)
    try:
        task = parse_task(json.loads(body))
    except (LabelFileError, ValueError) as error:
        raise CliError(f"{path.name}: {error}") from None
    key, bucket, s3 = naming.task_key(story, task.name), target.bucket(naming.LAKE), target.client("s3")
    if not _put_once(s3, bucket, key, body) and s3.get_object(Bucket=bucket, Key=key)["Body"].read() != body:
        raise CliError(f"task {task.name} was sent out before, with other content: give this one another name")
    return task


def deliver(target: Target, path: Path, *, story: str, task: str) -> str:
    """Put a delivery into the inbox, which starts its settling; returns its key."""
    body = _read(path)
    bucket, s3 = target.bucket(naming.LAKE), target.client("s3")
    try:
        sent = parse_task(json.loads(s3.get_object(Bucket=bucket, Key=naming.task_key(story, task))["Body"].read()))
    except s3.exceptions.NoSuchKey:
        raise CliError(f"no task {task} was sent out for {story}: `mangaassist labels send` does that") from None
    try:
        by, _, _ = parse_delivery(json.loads(body), sent.source)
    except (LabelFileError, ValueError) as error:
        raise CliError(f"{path.name}: {error}") from None
    if by not in sent.by:
        raise CliError(f"{path.name}: {by} was not asked; task {task} asks {', '.join(sent.by)}")
    key = naming.delivery_key(story, task, f"{by}-{hashlib.sha256(body).hexdigest()[:16]}")
    _put_once(s3, bucket, key, body)
    return key


def _read(path: Path) -> bytes:
    if not path.is_file():
        raise CliError(f"{path}: there is no such file")
    return path.read_bytes()


def _put_once(s3: Any, bucket: str, key: str, body: bytes) -> bool:
    """False when the key is taken."""
    try:
        s3.put_object(Bucket=bucket, Key=key, Body=body, IfNoneMatch="*")
    except ClientError as error:
        if error.response["Error"]["Code"] != "PreconditionFailed":
            raise
        return False
    return True

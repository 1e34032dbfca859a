"""Somebody changes a published model, and nobody loads it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from contracts import events, naming
from demo.scenes.recovery import ensure_previous
from demo.stage import Stage, expect

SERVING = "serving/"  # what the container loads
STRANGER = "serving/hook.py"


def artifact_tampered(stage: Stage) -> str:
    ensure_previous(stage)
    previous = stage.pointer()["previous"]
    bucket, prefix = previous["model_uri"].removeprefix("s3://").split("/", 1)
    s3 = stage.target.client("s3")
    listed = s3.list_objects_v2(Bucket=bucket, Prefix=prefix + SERVING)["Contents"]
    key = str(max(listed, key=lambda entry: entry["Size"])["Key"])
    with stage.unchanged():
        stage.say("going back to a model with an unlisted file")
        with added(s3, bucket, prefix + STRANGER):
            smuggled = stage.retrain(mode="rollback", reason="demo: a file was added to the previous model")
        expect(smuggled.outcome == events.FAILED, f"a model with an unlisted file ended as {smuggled.outcome}")
        expect("GiveLeaseBackAfterFailure" in smuggled.states, f"it stopped at {smuggled.states[-1]}")
        stage.say("going back to a model with one flipped byte")
        with flipped(s3, bucket, key):
            spoilt = stage.retrain(mode="rollback", reason="demo: a byte of the previous model was flipped")
        expect(spoilt.outcome == events.FAILED, f"a model with a flipped byte ended as {spoilt.outcome}")
        expect(loader_refused(stage, key.removeprefix(prefix)), "no container said that it refused the file")
    return (
        f"an added {STRANGER} was refused by the planner, a flipped byte in {key.removeprefix(prefix)} by the loader "
        f"in the container, before it loaded anything; version {stage.pointer()['version']} served on. Both are mended"
    )


@contextmanager
def flipped(s3: Any, bucket: str, key: str) -> Iterator[None]:
    """One bit of an object is the other one while the block runs."""
    original = bytes(s3.get_object(Bucket=bucket, Key=key)["Body"].read())
    spoilt = bytearray(original)
    spoilt[len(spoilt) // 2] ^= 1
    s3.put_object(Bucket=bucket, Key=key, Body=bytes(spoilt))
    try:
        yield
    finally:
        s3.put_object(Bucket=bucket, Key=key, Body=original)


@contextmanager
def added(s3: Any, bucket: str, key: str) -> Iterator[None]:
    """A file that nobody signed lies there while the block runs."""
    s3.put_object(Bucket=bucket, Key=key, Body=b"import os\n")
    try:
        yield
    finally:
        s3.delete_object(Bucket=bucket, Key=key)


def loader_refused(stage: Stage, name: str) -> bool:
    """Whether a container of the endpoint refused the file by name."""
    pages = stage.target.client("logs").get_paginator("filter_log_events").paginate(
        logGroupName=f"/aws/sagemaker/Endpoints/{naming.endpoint(stage.slug)}")
    said = f"{name} differs from the signed manifest: refused"
    return any(said in event["message"] for page in pages for event in page["events"])

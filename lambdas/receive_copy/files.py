"""Copy a signed model's files from home, each hashed on the way: one that is not what was signed is never there."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from lambdas.shared.errors import EvidenceMissing, SignatureInvalid
from lambdas.shared.objects import S3Uri, get_object

PART_BYTES = 16 << 20  # S3 takes 10,000 parts: 160 GB


def copy_files(
    home: Any, own: Any, *, source: S3Uri, target: S3Uri, files: Mapping[str, str], time_is_up: Callable[[], bool]
) -> bool:
    """Whether every file is there now. `files`: relative path -> SHA-256, as signed.

    Repeatable: what lies there is hashed again rather than believed, and only what differs is fetched. At least one
    file is copied however short the time is, so that a series of calls comes to an end.
    """
    copied = 0
    for name, sha256 in sorted(files.items()):
        if _sha256(own, target.child(name)) == sha256:
            continue
        if copied and time_is_up():
            return False
        _copy(home, own, source=source.child(name), target=target.child(name), sha256=sha256)
        copied += 1
    return True


def _sha256(s3: Any, uri: S3Uri) -> str:
    """Of what lies there; empty when nothing does."""
    try:
        body = get_object(s3, uri)["Body"]
    except EvidenceMissing:
        return ""
    hasher = hashlib.sha256()
    for part in _parts(body):
        hasher.update(part)
    return hasher.hexdigest()


def _copy(home: Any, own: Any, *, source: S3Uri, target: S3Uri, sha256: str) -> None:
    parts = _parts(get_object(home, source)["Body"])
    first = next(parts, b"")
    if len(first) < PART_BYTES:
        _check(hashlib.sha256(first), sha256, source)
        own.put_object(Bucket=target.bucket, Key=target.key, Body=first)
        return
    upload = {"Bucket": target.bucket, "Key": target.key}
    upload["UploadId"] = own.create_multipart_upload(**upload)["UploadId"]
    done = False
    try:
        hasher, etags = hashlib.sha256(), []
        for number, part in enumerate(_chain(first, parts), start=1):
            hasher.update(part)
            etag = own.upload_part(**upload, PartNumber=number, Body=part)["ETag"]
            etags.append({"PartNumber": number, "ETag": etag})
        _check(hasher, sha256, source)
        own.complete_multipart_upload(**upload, MultipartUpload={"Parts": etags})
        done = True
    finally:
        if not done:
            own.abort_multipart_upload(**upload)


def _check(hasher: Any, sha256: str, source: S3Uri) -> None:
    if hasher.hexdigest() != sha256:
        raise SignatureInvalid(f"{source} differs from home's signed manifest: refused")


def _chain(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


def _parts(body: Any) -> Iterator[bytes]:
    """In PART_BYTES, but for the last: S3 refuses a smaller part anywhere else."""
    held = bytearray()
    for chunk in body.iter_chunks(1 << 20):
        held += chunk
        while len(held) >= PART_BYTES:
            yield bytes(held[:PART_BYTES])
            del held[:PART_BYTES]
    if held:
        yield bytes(held)

"""Hash, copy and sign the objects of a model. Manifest and signature are written last: a prefix without them
is no model."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lambdas.shared.objects import S3Uri, get_object
from lambdas.shared.signatures import already_signed, write_signed

_CHUNK = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Hashed:
    key: str
    etag: str  # of the bytes that were hashed: the copy insists on it
    sha256: str


def hash_object(s3: Any, bucket: str, key: str) -> Hashed:
    """SHA-256 of an object of any size, streamed; EvidenceMissing when it is not there."""
    answer = get_object(s3, S3Uri(bucket, key))
    hasher = hashlib.sha256()
    for chunk in answer["Body"].iter_chunks(_CHUNK):
        hasher.update(chunk)
    return Hashed(key=key, etag=answer["ETag"], sha256=hasher.hexdigest())


def publish_files(
    s3: Any,
    kms: Any,
    *,
    bucket: str,
    prefix: str,
    files: Mapping[str, Hashed],
    manifest: bytes,
    signing_key: str,
) -> None:
    """Copy, then write manifest and signature. Repeatable: what is there and signed stays untouched."""
    target = S3Uri(bucket, prefix)
    if already_signed(s3, kms, target=target, manifest=manifest, key=signing_key):
        return
    for name, source in files.items():
        s3.copy_object(
            Bucket=bucket,
            Key=target.child(name).key,
            CopySourceIfMatch=source.etag,
            CopySource={"Bucket": bucket, "Key": source.key},
        )
    write_signed(s3, kms, target=target, manifest=manifest, key=signing_key)

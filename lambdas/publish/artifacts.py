"""Hash, copy and sign the objects of a model. Manifest and signature are written last: a prefix without them
is no model."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from contracts import manifests, naming
from lambdas.shared.errors import EvidenceMissing, SignatureInvalid
from lambdas.shared.objects import S3Uri, get_object, read_bytes
from lambdas.shared.signatures import ALGORITHM, is_signed

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
    if _already_published(s3, kms, target, manifest, signing_key):
        return
    for name, source in files.items():
        s3.copy_object(
            Bucket=bucket,
            Key=target.child(name).key,
            CopySourceIfMatch=source.etag,
            CopySource={"Bucket": bucket, "Key": source.key},
        )
    signature = kms.sign(
        KeyId=signing_key,
        Message=manifests.digest(manifest),
        MessageType="DIGEST",
        SigningAlgorithm=ALGORITHM,
    )["Signature"]
    s3.put_object(Bucket=bucket, Key=target.child(naming.MANIFEST_FILE).key, Body=manifest)
    s3.put_object(Bucket=bucket, Key=target.child(naming.SIGNATURE_FILE).key, Body=signature)


def _already_published(s3: Any, kms: Any, target: S3Uri, manifest: bytes, signing_key: str) -> bool:
    try:
        signature = read_bytes(s3, target.child(naming.SIGNATURE_FILE))  # the last file written
        found = read_bytes(s3, target.child(naming.MANIFEST_FILE))
    except EvidenceMissing:
        return False
    if found != manifest or not is_signed(kms, key=signing_key, manifest=found, signature=signature):
        raise SignatureInvalid(
            f"{target} holds a manifest that is not ours; remove the prefix and find out who wrote it"
        )
    return True

"""Is the model at this address what we signed? Asked of KMS, so a leaked public key file proves nothing."""

from __future__ import annotations

import json
from typing import Any

from contracts import manifests, naming
from contracts.manifests import ManifestError
from lambdas.shared.aws import client_error, error_code
from lambdas.shared.errors import EvidenceMissing, SignatureInvalid
from lambdas.shared.objects import S3Uri, list_objects, read_bytes

ALGORITHM = "ECDSA_SHA_256"
_REFUSALS = ("KMSInvalidSignatureException", "KMSInvalidSignature")


def is_signed(kms: Any, *, key: str, manifest: bytes, signature: bytes) -> bool:
    try:
        answer = kms.verify(
            KeyId=key,
            Message=manifests.digest(manifest),
            MessageType="DIGEST",
            Signature=signature,
            SigningAlgorithm=ALGORITHM,
        )
    except client_error() as error:
        if error_code(error) in _REFUSALS:
            return False
        raise
    return bool(answer["SignatureValid"])


def sign(kms: Any, *, key: str, message: bytes) -> bytes:
    """DER signature of the message's SHA-256: KMS takes 4,096 bytes at most, so digests are signed."""
    answer = kms.sign(
        KeyId=key, Message=manifests.digest(message), MessageType="DIGEST", SigningAlgorithm=ALGORITHM
    )
    return bytes(answer["Signature"])


def write_signed(s3: Any, kms: Any, *, target: S3Uri, manifest: bytes, key: str) -> None:
    """Manifest, then signature: the last files of a model, without which it is none."""
    signature = sign(kms, key=key, message=manifest)
    s3.put_object(Bucket=target.bucket, Key=target.child(naming.MANIFEST_FILE).key, Body=manifest)
    s3.put_object(Bucket=target.bucket, Key=target.child(naming.SIGNATURE_FILE).key, Body=signature)


def already_signed(s3: Any, kms: Any, *, target: S3Uri, manifest: bytes, key: str) -> bool:
    """Whether an earlier try got that far. SignatureInvalid when what lies there is not ours."""
    try:
        signature = read_bytes(s3, target.child(naming.SIGNATURE_FILE))  # the last file written
        found = read_bytes(s3, target.child(naming.MANIFEST_FILE))
    except EvidenceMissing:
        return False
    if found != manifest or not is_signed(kms, key=key, manifest=found, signature=signature):
        raise SignatureInvalid(
            f"{target} holds a manifest that is not ours; remove the prefix and find out who wrote it"
        )
    return True


def verify_published(
    s3: Any, kms: Any, *, key: str, model_uri: S3Uri, manifest_sha256: str, story: str
) -> None:
    """SignatureInvalid unless the manifest is the one we know, signed, and lists what is there.

    The bytes of each file are checked by the loader in the image, which reads them anyway.
    """
    try:
        manifest = read_bytes(s3, model_uri.child(naming.MANIFEST_FILE))
        signature = read_bytes(s3, model_uri.child(naming.SIGNATURE_FILE))
    except EvidenceMissing as missing:
        raise SignatureInvalid(f"the model is not signed: {missing}") from None
    if manifests.digest(manifest).hex() != manifest_sha256:
        raise SignatureInvalid(
            f"{model_uri}: the manifest is not the one that was published ({manifest_sha256[:16]})"
        )
    if not is_signed(kms, key=key, manifest=manifest, signature=signature):
        raise SignatureInvalid(f"{model_uri}: the signature is not ours")
    listed = json.loads(manifest)
    if listed["story"] != story:
        raise SignatureInvalid(f"{model_uri}: signed for story {listed['story']!r}, not for {story!r}")
    prefix = model_uri.key.rstrip("/") + "/"
    found = {entry["Key"].removeprefix(prefix) for entry in list_objects(s3, S3Uri(model_uri.bucket, prefix))}
    try:
        manifests.check_files(manifest, {name: listed["files"].get(name, "") for name in found})
    except ManifestError as error:
        raise SignatureInvalid(f"{model_uri}: {error}") from None

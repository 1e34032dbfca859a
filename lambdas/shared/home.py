"""What a receiving region believes of home: what home's key signed, and the key only by its pinned SHA-256."""

from __future__ import annotations

import re
from typing import Any

from contracts import manifests, naming
from contracts.announcements import Announcement, AnnouncementError, Signed, key_digest
from lambdas.shared import p256
from lambdas.shared.aws import client
from lambdas.shared.errors import SignatureInvalid
from lambdas.shared.objects import S3Uri, list_objects, read_bytes

READ_TIMEOUT_S = 60  # on the other side of an ocean
_PIN = re.compile(r"[0-9a-f]{64}")


def home_s3(region: str) -> Any:
    """S3 as home's region answers it."""
    return client("s3", region=region, read_timeout_s=READ_TIMEOUT_S)


def announcement_uri(bucket: str, story: str) -> S3Uri:
    return S3Uri(bucket, naming.announcement(story))


def read_announcement(s3: Any, uri: S3Uri, *, story: str, pin: str) -> tuple[Announcement, bytes] | None:
    """(what home serves, home's public key); None before home's first promotion.

    SignatureInvalid unless home's pinned key signed it, for this story.
    """
    # Listed first: S3 answers 403 for an object that is not there when the right to list knows prefixes only.
    if not any(entry["Key"] == uri.key for entry in list_objects(s3, uri)):
        return None
    try:
        signed = Signed.parse(read_bytes(s3, uri))
    except AnnouncementError as error:
        raise SignatureInvalid(f"{uri}: {error}") from None
    check_signature(signed.announcement.statement(), signed.signature, key=signed.public_key, pin=pin, what=str(uri))
    if signed.announcement.story != story:
        raise SignatureInvalid(f"{uri}: signed for story {signed.announcement.story!r}, not for {story!r}")
    return signed.announcement, signed.public_key


def check_signature(message: bytes, signature: bytes, *, key: bytes, pin: str, what: str) -> None:
    """SignatureInvalid unless the pinned key signed the message's SHA-256."""
    if not _PIN.fullmatch(pin):
        raise SignatureInvalid(
            "this deployment knows no key of home: set the context `home_key_sha256` to the SHA-256 of home's public "
            f"signing key (docs/components/model-registry.md) and deploy; it is {pin!r}")
    if key_digest(key) != pin:
        raise SignatureInvalid(f"{what}: by the key {key_digest(key)[:16]}, but the pinned key of home is {pin[:16]}")
    if not p256.verify(key, manifests.digest(message), signature):
        raise SignatureInvalid(f"{what}: the signature is not home's")

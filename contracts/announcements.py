"""What home says of the version it serves: one signed object that receiving regions come and read.

It lies below `models/` of home's artifacts bucket, the one place that other regions may read. Statement, signature and
public key are one object, so a reader never sees half of a change; a receiving region trusts the key by its
SHA-256, which its own template names, and nothing else.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Self

# Signed along: a manifest's signature can't pass for a statement's, nor one of another layout for this one's.
_KIND = "mangaassist-promotion-1"


class AnnouncementError(ValueError):
    """The object is not what home's promote step writes."""


@dataclass(frozen=True, kw_only=True)
class Announcement:
    """The version that home's pointer names. `version` and `token` only grow, but for a roll-back's version."""

    story: str
    version: int
    manifest_sha256: str
    label_version_to: str
    verdict_uri: str
    token: int

    def statement(self) -> bytes:
        """The bytes that are signed: sorted keys, no spaces."""
        return json.dumps({"kind": _KIND, **asdict(self)}, sort_keys=True, separators=(",", ":")).encode()


@dataclass(frozen=True, kw_only=True)
class Signed:
    announcement: Announcement
    signature: bytes  # DER, over the SHA-256 of the statement
    public_key: bytes  # DER SubjectPublicKeyInfo

    def to_bytes(self) -> bytes:
        return json.dumps({
            "statement": self.announcement.statement().decode(),
            "signature": base64.b64encode(self.signature).decode(),
            "public_key": base64.b64encode(self.public_key).decode(),
        }, sort_keys=True).encode()

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """AnnouncementError unless it is exactly what `to_bytes` writes. Says nothing of the signature."""
        try:
            body = json.loads(data)
            statement = json.loads(body["statement"])
            kind = statement.pop("kind")
            found = cls(announcement=Announcement(**statement),
                        signature=base64.b64decode(body["signature"], validate=True),
                        public_key=base64.b64decode(body["public_key"], validate=True))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, binascii.Error):
            raise AnnouncementError("home's announcement can't be read: statement, signature and public_key") from None
        a = found.announcement
        texts = (a.story, a.manifest_sha256, a.label_version_to, a.verdict_uri)
        whole = all(type(number) is int and number >= 0 for number in (a.version, a.token))
        if kind != _KIND or not whole or not all(isinstance(text, str) for text in texts):
            raise AnnouncementError(f"home's announcement must be a {_KIND} with texts and whole numbers")
        return found


def key_digest(public_key: bytes) -> str:
    """How a public key is pinned: SHA-256 of its DER, in hex."""
    return hashlib.sha256(public_key).hexdigest()

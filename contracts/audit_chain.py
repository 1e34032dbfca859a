"""The audit trail as a hash chain: every record is sealed over the one before it, heads are signed.

One record is one line of ASCII:

    HASH SEQUENCE PREVIOUS RECORD\\n

HASH is the SHA-256 (hex) of the bytes between it and the line's end, so a verifier hashes one slice
per record and parses nothing. PREVIOUS is the HASH of the record before; the first record's is
`genesis(chain)`, which names the chain, so a line can't be moved to another one. RECORD is canonical
JSON. A checkpoint says how far a chain had come; it is signed (KMS ECC_NIST_P256, ECDSA_SHA_256,
MessageType=DIGEST) and kept apart from the records, so records cut off at the end are missed, too.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

HASH_CHARS, SEQUENCE_DIGITS = 64, 12
MAX_SEQUENCE = 10**SEQUENCE_DIGITS - 1


class AuditChainError(ValueError):
    """A record, line or checkpoint that is not of this format."""


def canonical(value: Mapping[str, Any]) -> bytes:
    """Sorted keys, no spaces, ASCII, no NaN: the same record gives the same bytes, on one line."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")


def genesis(chain: str) -> str:
    return hashlib.sha256(f"audit chain {chain}".encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Head:
    """Where a chain ends. Sequence numbers count from 1 without a gap, so `sequence` is the count, too."""

    chain: str
    sequence: int
    hash: str

    @classmethod
    def of_empty(cls, chain: str) -> Head:
        return cls(chain=chain, sequence=0, hash=genesis(chain))


@dataclass(frozen=True, kw_only=True)
class Link:
    """What the chain adds to a record."""

    chain: str
    sequence: int
    previous: str
    hash: str

    @property
    def head(self) -> Head:
        return Head(chain=self.chain, sequence=self.sequence, hash=self.hash)


def _body(sequence: int, previous: str, record: bytes) -> bytes:
    return b"%0*d %b %b" % (SEQUENCE_DIGITS, sequence, previous.encode("ascii"), record)


def seal(record: Mapping[str, Any], after: Head) -> Link:
    """The link of a record that follows `after`."""
    sequence = after.sequence + 1
    if sequence > MAX_SEQUENCE:
        raise AuditChainError(f"chain {after.chain} is full: at most {MAX_SEQUENCE} records; begin another chain")
    body = _body(sequence, after.hash, canonical(record))
    return Link(chain=after.chain, sequence=sequence, previous=after.hash, hash=hashlib.sha256(body).hexdigest())


def line(link: Link, record: Mapping[str, Any]) -> bytes:
    """The record's line as it is stored: the link's hash is stated, not computed anew."""
    return link.hash.encode("ascii") + b" " + _body(link.sequence, link.previous, canonical(record)) + b"\n"


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A signed statement: `chain` had `count` records and this head, at the moment `at` (ISO 8601, UTC)."""

    chain: str
    sequence: int
    hash: str
    count: int
    at: str

    @classmethod
    def of(cls, head: Head, *, at: str) -> Checkpoint:
        return cls(chain=head.chain, sequence=head.sequence, hash=head.hash, count=head.sequence, at=at)

    def digest(self) -> bytes:
        """The 32 bytes that are signed."""
        return hashlib.sha256(canonical(asdict(self))).digest()


@dataclass(frozen=True, kw_only=True)
class SignedCheckpoint:
    checkpoint: Checkpoint
    signature: bytes  # DER, as KMS gives it

    def to_json(self) -> bytes:
        return canonical({"checkpoint": asdict(self.checkpoint),
                          "signature": base64.b64encode(self.signature).decode("ascii")})

    @classmethod
    def from_json(cls, text: bytes) -> SignedCheckpoint:
        """AuditChainError when it is not what `to_json` writes."""
        try:
            raw = json.loads(text)
            checkpoint = Checkpoint(**raw["checkpoint"])
            signature = base64.b64decode(raw["signature"], validate=True)
        except (ValueError, KeyError, TypeError, RecursionError):
            raise AuditChainError(f"not a signed checkpoint: {text[:60]!r}") from None
        numbers = (checkpoint.sequence, checkpoint.count)
        if any(type(n) is not int or n < 1 for n in numbers) or checkpoint.sequence != checkpoint.count:
            raise AuditChainError(f"a checkpoint's sequence and count are one number from 1, got {numbers}")
        return cls(checkpoint=checkpoint, signature=signature)

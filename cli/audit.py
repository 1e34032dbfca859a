"""Is the audit trail as it was written? Reads records, links and signed heads, and names what was touched."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import load_der_public_key

from cli.errors import CliError, one_of
from cli.target import Target
from contracts import audit_table, naming
from contracts.audit_chain import AuditChainError, Link, SignedCheckpoint, line
from contracts.audit_verifier import IsSigned, Verdict, verify
from contracts.functions import AUDIT_CHECKPOINT
from contracts.records import AUDIT_SORT_KEY, PLATFORM
from contracts.stories import CONTRACTS

CHAINS = (*CONTRACTS, PLATFORM)


@dataclass(frozen=True, kw_only=True)
class Verified:
    """`ids`: sequence number -> the record's id. `unlinked`: ids of records that are in no chain."""

    verdict: Verdict
    ids: dict[int, str]
    unlinked: tuple[str, ...]
    unreadable_checkpoints: tuple[str, ...]

    @property
    def intact(self) -> bool:
        return self.verdict.intact and not self.unlinked and not self.unreadable_checkpoints


def verify_chain(target: Target, chain: str) -> Verified:
    """One chain against its signed heads. The public key comes from KMS, never from beside a signature."""
    if chain not in CHAINS:
        raise one_of("audit chain", chain, CHAINS)
    # In this order what is written meanwhile does no harm: a signed head is older than the links that are read,
    # and a link is never there before its record.
    points, unreadable = _checkpoints(target, chain)
    links = _links(target, chain)
    records = {values[AUDIT_SORT_KEY]: values for values in map(_texts, _items(target, chain))}
    lines = (line(link, records[of]) for link, of in links if of in records)
    verdict = verify(chain, lines, points, is_signed=_is_signed(target),
                     counted=links[-1][0].sequence if links else 0)
    unlinked = records.keys() - {of for _, of in links}
    if unlinked:  # appended since we read the links?
        unlinked -= {of for _, of in _links(target, chain)}
    return Verified(verdict=verdict, ids={link.sequence: of for link, of in links},
                    unlinked=tuple(sorted(unlinked)), unreadable_checkpoints=unreadable)


def _items(target: Target, partition: str) -> Iterator[dict[str, Any]]:
    query = audit_table.partition_query(naming.audit_table(target.deployment.name), partition)
    for page in target.client("dynamodb").get_paginator("query").paginate(**query):
        yield from page["Items"]


def _texts(item: dict[str, Any]) -> dict[str, str]:
    """An audit record holds text only; anything else was put there by somebody else, and will not verify."""
    return {name: value["S"] if "S" in value else repr(value) for name, value in item.items()}


def _links(target: Target, chain: str) -> list[tuple[Link, str]]:
    found = []
    for item in _items(target, audit_table.chain_partition(chain)):
        try:
            found.append(audit_table.parse_link(item, chain))
        except (KeyError, ValueError):
            continue  # no link any more: its number will be missing
    return found


def _checkpoints(target: Target, chain: str) -> tuple[list[SignedCheckpoint], tuple[str, ...]]:
    """(signed heads of the chain, keys of objects that are none)."""
    s3, bucket = target.client("s3"), target.bucket(naming.ARTIFACTS)
    found, unreadable = [], []
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=naming.audit_checkpoints_prefix(chain))
    for key in (entry["Key"] for page in pages for entry in page.get("Contents", ())):
        try:
            found.append(SignedCheckpoint.from_json(s3.get_object(Bucket=bucket, Key=key)["Body"].read()))
        except AuditChainError:
            unreadable.append(key)
    return found, tuple(unreadable)


def _is_signed(target: Target) -> IsSigned:
    alias = f"alias/{naming.signing_key_alias(target.deployment.name)}"
    key = load_der_public_key(target.client("kms").get_public_key(KeyId=alias)["PublicKey"])
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise CliError(f"{alias} must be an elliptic-curve key, got {type(key).__name__}")

    def is_signed(digest: bytes, signature: bytes) -> bool:
        try:
            key.verify(signature, digest, ec.ECDSA(Prehashed(hashes.SHA256())))
        except InvalidSignature:
            return False
        return True

    return is_signed


def checkpoint(target: Target) -> dict[str, int]:
    """Sign the heads now; chain -> sequence of those that had grown."""
    answer = target.client("lambda").invoke(
        FunctionName=naming.function(PLATFORM, AUDIT_CHECKPOINT.name), Payload=b"{}")
    body = json.loads(answer["Payload"].read())
    if "FunctionError" in answer:
        raise CliError(f"the heads were not signed: {body.get('errorType')}; see the function's log")
    return dict(body["signed"])

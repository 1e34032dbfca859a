"""The manifest of a published model: SHA-256 of every file, in one canonical form that is signed.

The signature covers the SHA-256 of the canonical bytes (KMS ECC_NIST_P256, ECDSA_SHA_256,
MessageType=DIGEST). A file that is not listed is refused, so nothing can be smuggled in.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from contracts.naming import MANIFEST_FILE, SIGNATURE_FILE

UNLISTED_ALLOWED = frozenset({MANIFEST_FILE, SIGNATURE_FILE})


class ManifestError(ValueError):
    """The files of a model are not what was signed."""


def canonical(files: Mapping[str, str], *, story: str, lineage: Mapping[str, str]) -> bytes:
    """Bytes of manifest.json: sorted keys, no spaces; the same files give the same bytes."""
    for name, digest in files.items():
        if name.startswith("/") or ".." in name.split("/") or len(digest) != 64:
            raise ManifestError(
                f"manifest entry {name!r} must be a relative path with a SHA-256, got {digest!r}"
            )
    body = {"version": 1, "story": story, "files": dict(files), "lineage": dict(lineage)}
    return json.dumps(body, sort_keys=True, separators=(",", ":")).encode()


def digest(manifest: bytes) -> bytes:
    """The 32 bytes that are signed."""
    return hashlib.sha256(manifest).digest()


def _files(manifest: bytes) -> dict[str, str]:
    try:
        files = json.loads(manifest)["files"]
    except (ValueError, KeyError, TypeError, RecursionError):
        files = None
    if not isinstance(files, dict):
        raise ManifestError("manifest.json lists no files: refused")
    return files


def check_files(manifest: bytes, found: Mapping[str, str]) -> None:
    """`found`: relative path -> SHA-256 of what is there. ManifestError names the first difference."""
    listed = _files(manifest)
    actual = {name: value for name, value in found.items() if name not in UNLISTED_ALLOWED}
    for name in sorted(actual.keys() - listed.keys()):
        raise ManifestError(f"{name} is not in the signed manifest: refused")
    for name in sorted(listed.keys() - actual.keys()):
        raise ManifestError(f"{name} is in the signed manifest but missing: refused")
    for name in sorted(listed):
        if actual[name] != listed[name]:
            raise ManifestError(f"{name} differs from the signed manifest: refused")

"""Verify a model folder before anything in it is loaded.

A network-isolated container can't call KMS: CreateModel hands it the manifest's digest and the
public key, and this code lives in the image, not in the artifact. Refused: no manifest, no
signature, another manifest than the one named, a signature by another key, a changed, missing or
unlisted file, another story's model.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import load_der_public_key

from contracts import manifests
from contracts.manifests import ManifestError
from contracts.naming import MANIFEST_FILE, SIGNATURE_FILE
from model_code.common.hashing import folder_files


@dataclass(frozen=True, kw_only=True)
class Trust:
    """What the container was told to accept."""

    manifest_sha256: str  # hex
    public_key: str  # base64 of a DER SubjectPublicKeyInfo
    story: str

    def _key(self) -> ec.EllipticCurvePublicKey:
        try:
            key = load_der_public_key(base64.b64decode(self.public_key, validate=True))
        except (ValueError, UnsupportedAlgorithm):
            raise ManifestError("MODEL_PUBLIC_KEY is not a base64 DER public key: refused") from None
        if not isinstance(key, ec.EllipticCurvePublicKey):
            raise ManifestError(f"MODEL_PUBLIC_KEY must be an elliptic-curve key, got {type(key).__name__}: refused")
        return key


def _read(folder: Path, name: str) -> bytes:
    try:
        return (folder / name).read_bytes()
    except FileNotFoundError:
        raise ManifestError(f"{name} is missing: an unsigned model is refused") from None


def verify_folder(folder: Path, trust: Trust) -> None:
    """Raise ManifestError unless every file of `folder` is what was signed."""
    manifest, signature = _read(folder, MANIFEST_FILE), _read(folder, SIGNATURE_FILE)
    digest = manifests.digest(manifest)
    if digest.hex() != trust.manifest_sha256.lower():
        raise ManifestError(f"{MANIFEST_FILE} has SHA-256 {digest.hex()}, this container was told to serve "
                            f"{trust.manifest_sha256 or 'nothing'}: refused")
    try:
        trust._key().verify(signature, digest, ec.ECDSA(Prehashed(hashes.SHA256())))
    except InvalidSignature:
        raise ManifestError(f"{SIGNATURE_FILE} is not a signature of {MANIFEST_FILE} by the given key: "
                            "refused") from None
    story = json.loads(manifest).get("story")
    if story != trust.story:
        raise ManifestError(f"the model was signed for story {story!r}, this endpoint serves {trust.story!r}: refused")
    try:
        found = folder_files(folder)
    except ValueError as error:
        raise ManifestError(f"{error}: refused") from None
    manifests.check_files(manifest, found)

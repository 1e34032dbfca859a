"""A model is verified before anything in it is loaded; every way to tamper with it is refused by name."""

from __future__ import annotations

import base64
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from contracts.manifests import ManifestError
from model_code.common.hashing import code_sha256, combined_sha256, folder_files
from model_code.common.signing import Trust, verify_folder
from tests.support import tiny_model


@pytest.fixture
def signed(tmp_path: Path) -> tuple[Path, Trust]:
    model = tmp_path / "model"
    (model / "serving").mkdir(parents=True)
    (model / "serving" / "model.bin").write_bytes(b"weights")
    (model / "training.json").write_text("{}")
    digest = tiny_model.sign(model)
    return model, Trust(manifest_sha256=digest, public_key=tiny_model.public_key(), story=tiny_model.STORY)


def test_a_signed_model_is_accepted(signed: tuple[Path, Trust]) -> None:
    verify_folder(*signed)
    model, trust = signed
    verify_folder(model, replace(trust, manifest_sha256=trust.manifest_sha256.upper()))


def overwrite(name: str, content: bytes) -> Callable[[Path], object]:
    return lambda model: (model / name).write_bytes(content)


@pytest.mark.parametrize(("tamper", "says"), [
    (overwrite("serving/model.bin", b"other"), r"serving/model\.bin differs"),
    (overwrite("serving/extra.py", b"import os"), r"serving/extra\.py is not in the signed manifest"),
    (lambda m: (m / "training.json").unlink(), r"training\.json is in the signed manifest but missing"),
    (lambda m: (m / "manifest.sig").unlink(), r"manifest\.sig is missing: an unsigned model is refused"),
    (lambda m: (m / "manifest.json").unlink(), r"manifest\.json is missing"),
    (overwrite("manifest.sig", b"0" * 70), r"not a signature of manifest\.json"),
    (overwrite("manifest.json", b"{}"), "was told to serve"),
    (lambda m: (m / "link").symlink_to("/etc/passwd"), "link is a symbolic link"),
])
def test_a_tampered_model_is_refused(
    signed: tuple[Path, Trust], tamper: Callable[[Path], object], says: str,
) -> None:
    model, trust = signed
    tamper(model)
    with pytest.raises(ManifestError, match=says):
        verify_folder(model, trust)


def test_a_signature_by_another_key_is_refused(signed: tuple[Path, Trust]) -> None:
    model, trust = signed
    digest = tiny_model.sign(model, key=ec.generate_private_key(ec.SECP256R1()))
    with pytest.raises(ManifestError, match="by the given key"):
        verify_folder(model, replace(trust, manifest_sha256=digest))


def test_a_rightly_signed_model_of_another_story_is_refused(signed: tuple[Path, Trust]) -> None:
    model, trust = signed
    digest = tiny_model.sign(model, story="spam")
    with pytest.raises(ManifestError, match="signed for story 'spam'"):
        verify_folder(model, replace(trust, manifest_sha256=digest))


def test_an_older_signed_model_than_the_one_named_is_refused(signed: tuple[Path, Trust], tmp_path: Path) -> None:
    model, _ = signed
    newer = tmp_path / "newer"
    shutil.copytree(model, newer)
    (newer / "training.json").write_text('{"seed": 2}')
    trust = Trust(manifest_sha256=tiny_model.sign(newer), public_key=tiny_model.public_key(), story=tiny_model.STORY)
    with pytest.raises(ManifestError, match="was told to serve"):
        verify_folder(model, trust)


RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key()


@pytest.mark.parametrize(("key", "says"), [
    ("", "not a base64 DER"), ("!!!", "not a base64 DER"),
    (base64.b64encode(b"nonsense").decode(), "not a base64 DER"),
    (base64.b64encode(RSA.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode(),
     "elliptic-curve key"),
])
def test_an_unusable_key_trusts_nothing(signed: tuple[Path, Trust], key: str, says: str) -> None:
    model, trust = signed
    with pytest.raises(ManifestError, match=says):
        verify_folder(model, replace(trust, public_key=key))


def test_hashes_depend_on_names_and_contents(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    one = combined_sha256(folder_files(tmp_path))
    (tmp_path / "a").rename(tmp_path / "b")
    assert combined_sha256(folder_files(tmp_path)) != one
    assert len(code_sha256()) == 64

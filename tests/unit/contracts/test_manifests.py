"""The signed list of a model's files."""

from __future__ import annotations

import hashlib

import pytest

from contracts.manifests import ManifestError, canonical, check_files, digest

A, B = "a" * 64, "b" * 64
MANIFEST = canonical({"model.bin": A, "sub/config.json": B}, story="toy", lineage={"run_id": "r"})
FILES = {"model.bin": A, "sub/config.json": B}


def test_the_same_files_give_the_same_bytes_in_any_order() -> None:
    again = canonical({"sub/config.json": B, "model.bin": A}, story="toy", lineage={"run_id": "r"})
    assert again == MANIFEST
    assert b" " not in MANIFEST
    assert digest(MANIFEST) == hashlib.sha256(MANIFEST).digest()


def test_story_and_lineage_are_part_of_what_is_signed() -> None:
    assert canonical(FILES, story="other", lineage={"run_id": "r"}) != MANIFEST
    assert canonical(FILES, story="toy", lineage={"run_id": "s"}) != MANIFEST


@pytest.mark.parametrize("name", ["/etc/passwd", "../up", "a/../../b"])
def test_a_path_that_leaves_the_folder_is_refused(name: str) -> None:
    with pytest.raises(ManifestError, match="must be a relative path with a SHA-256"):
        canonical({name: A}, story="toy", lineage={})


def test_a_digest_of_the_wrong_length_is_refused() -> None:
    with pytest.raises(ManifestError, match="got 'abc'"):
        canonical({"f": "abc"}, story="toy", lineage={})


def test_what_was_signed_is_accepted_with_manifest_and_signature_beside_it() -> None:
    check_files(MANIFEST, FILES | {"manifest.json": "any", "manifest.sig": "any"})


@pytest.mark.parametrize(("found", "said"), [
    (FILES | {"extra.py": A}, r"extra\.py is not in the signed manifest: refused"),
    ({"model.bin": A}, r"sub/config\.json is in the signed manifest but missing: refused"),
    (FILES | {"model.bin": B}, r"model\.bin differs from the signed manifest: refused"),
])
def test_anything_else_is_refused_by_name(found: dict[str, str], said: str) -> None:
    with pytest.raises(ManifestError, match=said):
        check_files(MANIFEST, found)


@pytest.mark.parametrize("manifest", [b"", b"{}", b"[]", b'{"files": ["model.bin"]}', b"\xff", b"[" * 100_000])
def test_a_manifest_that_lists_nothing_is_refused(manifest: bytes) -> None:
    with pytest.raises(ManifestError, match="lists no files: refused"):
        check_files(manifest, FILES)

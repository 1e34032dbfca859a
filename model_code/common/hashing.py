"""SHA-256 of files, folders, and of the code and base model that made a model."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

_CHUNK = 1 << 20


def file_sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def folder_files(folder: Path, *, suffix: str = "") -> dict[str, str]:
    """Relative path -> SHA-256 of every file below; ValueError on a symbolic link, which could leave the folder."""
    found: dict[str, str] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            raise ValueError(f"{path.relative_to(folder)} is a symbolic link; a model folder holds plain files only")
        if path.is_file() and path.name.endswith(suffix):
            found[path.relative_to(folder).as_posix()] = file_sha256(path)
    return found


def combined_sha256(files: Mapping[str, str]) -> str:
    """One digest over names and contents, in name order."""
    digest = hashlib.sha256()
    for name in sorted(files):
        digest.update(f"{name}\0{files[name]}\n".encode())
    return digest.hexdigest()


def code_sha256() -> str:
    """Digest of the Python sources that run here: model_code and contracts."""
    root = Path(__file__).resolve().parents[2]
    files = {
        f"{room}/{name}": sha
        for room in ("contracts", "model_code") for name, sha in folder_files(root / room, suffix=".py").items()
    }
    return combined_sha256(files)

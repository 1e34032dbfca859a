"""Source folders as assets: one archive each, not built, named by the hash of its content.

The hash is ours because CDK's would cover the repository's whole tree (or the path of the
interpreter), and a changed README must not redeploy a function. An archive, because CDK copies an
asset into its output: one file instead of fifty, and the packages of the layer are five hundred.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import zipfile
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

from aws_cdk import AssetHashType
from aws_cdk import aws_s3_assets as s3_assets

from constructs import Construct

ROOT = Path(__file__).resolve().parents[2]
STAGED = ROOT / "build" / "assets"
_FIXED_TIME = (1980, 1, 1, 0, 0, 0)  # the same files give the same bytes


def source_files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*")
                  if p.is_file() and "__pycache__" not in p.parts and p.suffix != ".pyc" and p.name != ".DS_Store")


@cache
def _bodies(folder: str) -> tuple[tuple[str, bytes], ...]:
    """(path below the repository, bytes) of a folder's files: a dozen functions share `contracts`."""
    return tuple((file.relative_to(ROOT).as_posix(), file.read_bytes()) for file in source_files(ROOT / folder))


@cache
def content_hash(folders: tuple[str, ...]) -> str:
    """SHA-256 over the paths and bytes of the folders (relative to the repository)."""
    missing = [folder for folder in folders if not (ROOT / folder).is_dir()]
    if missing:
        raise ValueError(f"asset folder {missing[0]!r} does not exist below the repository root; check its name")
    return _hash_of(entry for folder in folders for entry in _bodies(folder))


def _hash_of(entries: Iterable[tuple[str, bytes]]) -> str:
    digest = hashlib.sha256()
    for path, body in entries:
        digest.update(f"{path}\0{len(body)}\0".encode())
        digest.update(body)
    return digest.hexdigest()


def _hash_of_files(files: Sequence[str]) -> str:
    return _hash_of((file, (ROOT / file).read_bytes()) for file in files)


@cache
def staged(folders: tuple[str, ...]) -> Path:
    """An archive below build/ that holds the folders under their own names; named by content, so made once."""
    target = STAGED / f"{content_hash(folders)}.zip"
    if not target.is_file():
        files = {file for folder in folders for file in source_files(ROOT / folder)}
        # `lambdas/judge` is imported as lambdas.judge: its parent must be a package there too.
        parents = {ROOT / Path(folder).parts[0] / "__init__.py" for folder in folders if "/" in folder}
        write_archive(target, ROOT, files | {init for init in parents if init.is_file()})
    return target


def write_archive(target: Path, root: Path, files: Iterable[Path]) -> None:
    """A zip of the files under their paths below `root`: whole or not at all, readable by everybody."""
    target.parent.mkdir(parents=True, exist_ok=True)
    number, name = tempfile.mkstemp(dir=target.parent, prefix=".part-")
    part = Path(name)
    try:
        with os.fdopen(number, "wb") as stream, zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in sorted(files):
                entry = zipfile.ZipInfo(file.relative_to(root).as_posix(), _FIXED_TIME)
                entry.external_attr = (0o755 if os.access(file, os.X_OK) else 0o644) << 16
                entry.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(entry, file.read_bytes())
        part.chmod(0o644)
        part.rename(target)
    finally:
        part.unlink(missing_ok=True)


def source_asset(scope: Construct, id_: str, folders: Sequence[str]) -> s3_assets.Asset:
    """An asset that holds `folders`, each at its own relative path."""
    return s3_assets.Asset(scope, id_, path=str(staged(tuple(folders))), asset_hash=content_hash(tuple(folders)),
                           asset_hash_type=AssetHashType.CUSTOM)


def file_asset(scope: Construct, id_: str, file: str) -> s3_assets.Asset:
    """One file as it is, for a service that runs it from S3."""
    return s3_assets.Asset(scope, id_, path=str(ROOT / file), asset_hash=_hash_of_files([file]),
                           asset_hash_type=AssetHashType.CUSTOM)


def archive_asset(scope: Construct, id_: str, files: Sequence[str]) -> s3_assets.Asset:
    """An archive of exactly these files under their own paths: a change to any other makes no new one."""
    digest = _hash_of_files(files)
    target = STAGED / f"{digest}.zip"
    if not target.is_file():
        write_archive(target, ROOT, [ROOT / file for file in files])
    return s3_assets.Asset(scope, id_, path=str(target), asset_hash=digest, asset_hash_type=AssetHashType.CUSTOM)

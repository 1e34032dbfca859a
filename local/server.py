"""Starts the embedded AWS in a process of its own and stops it again.

The process is a plain child: whoever starts it may go away (detach), `down` finds it by its pid file.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, replace
from pathlib import Path

from local.config import LocalConfig

PID_FILE = "local.pid"
LOG_FILE = "local.log"
_PROJECT_ROOT = Path(__file__).resolve().parent.parent


class ServerError(RuntimeError):
    """The server did not come up, or went away."""


@dataclass(frozen=True, kw_only=True)
class RunningServer:
    config: LocalConfig
    pid: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint_url(self) -> str:
        return self.config.endpoint_url

    @property
    def log_path(self) -> Path:
        return self.config.data_dir / LOG_FILE

    def resident_mb(self) -> float:
        status = Path(f"/proc/{self.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
        return int(line.split()[1]) / 1024

    def stop(self, *, within_s: float = 10) -> None:
        """SIGTERM to the process group (Lambda workers and jobs are in it), SIGKILL after within_s."""
        for signal_number, wait_s in ((signal.SIGTERM, within_s), (signal.SIGKILL, within_s)):
            try:
                os.killpg(self.pid, signal_number)
            except ProcessLookupError:
                break
            if self._gone(wait_s):
                break
        (self.config.data_dir / PID_FILE).unlink(missing_ok=True)

    def _gone(self, wait_s: float) -> bool:
        deadline = time.monotonic() + wait_s
        while time.monotonic() < deadline:
            if self.process is not None:
                self.process.poll()  # reaps it, or the group never looks empty
            try:
                os.killpg(self.pid, 0)
            except ProcessLookupError:
                return True
            time.sleep(0.02)
        return False


def start(config: LocalConfig, *, wait_s: float = 30) -> RunningServer:
    """Start and wait until it answers. One server per data_dir: a second one is refused."""
    already = find(config.data_dir)
    if already is not None:
        raise ServerError(
            f"an embedded AWS (pid {already.pid}) already runs on {config.data_dir} at {already.endpoint_url}; "
            f"stop it with: python -m local down --data-dir {config.data_dir}"
        )
    config = replace(config, port=config.port or _free_port(), data_dir=config.data_dir.resolve())
    config.data_dir.mkdir(parents=True, exist_ok=True)
    with (config.data_dir / LOG_FILE).open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "local.process", config.to_json()],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            env=_environment(config), cwd=_PROJECT_ROOT, start_new_session=True,
        )
    server = RunningServer(config=config, pid=process.pid, process=process)
    try:
        _wait_until_ready(server, wait_s)
    except ServerError:
        server.stop()
        raise
    (config.data_dir / PID_FILE).write_text(json.dumps({"pid": process.pid, "config": config.to_json()}))
    return server


def find(data_dir: Path) -> RunningServer | None:
    """The server that runs on data_dir, or None (a stale pid file is removed)."""
    path = data_dir / PID_FILE
    if not path.exists():
        return None
    saved = json.loads(path.read_text())
    server = RunningServer(config=LocalConfig.from_json(saved["config"]), pid=saved["pid"])
    if not _answers(server.endpoint_url):
        path.unlink()
        return None
    return server


def _environment(config: LocalConfig) -> dict[str, str]:
    """A clean one: the caller's AWS profile or PYTHONPATH must not reach the server or a Lambda."""
    scratch = config.data_dir / "tmp"
    scratch.mkdir(parents=True, exist_ok=True)
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "LC_ALL", "TZ") if name in os.environ}
    return {
        **kept,
        "TMPDIR": str(scratch),
        "PYTHONPATH": str(_PROJECT_ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",
        "MALLOC_ARENA_MAX": "2",  # glibc otherwise keeps one arena per thread: +150 MB with the worker pool
        "OMP_NUM_THREADS": "1",
    }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(endpoint_url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{endpoint_url}/_local/health", timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _wait_until_ready(server: RunningServer, wait_s: float) -> None:
    deadline = time.monotonic() + wait_s
    assert server.process is not None
    while time.monotonic() < deadline:
        if server.process.poll() is not None:
            raise ServerError(f"the embedded AWS ended with code {server.process.returncode} while it started; "
                              f"its log: {server.log_path}\n{_tail(server.log_path)}")
        if _answers(server.endpoint_url):
            return
        time.sleep(0.02)
    raise ServerError(f"the embedded AWS did not answer at {server.endpoint_url} within {wait_s:g} s; "
                      f"its log: {server.log_path}\n{_tail(server.log_path)}")


def _tail(path: Path, lines: int = 15) -> str:
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:]) if path.exists() else ""

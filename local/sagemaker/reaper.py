"""Containers must not outlive the server, even one that is killed.

A tiny helper process holds the reading end of a pipe. It learns each process group that starts and ends, and
when the pipe closes, because the server is gone, it ends what is left.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading

_PROGRAM = """
import os, signal, sys, time
signal.signal(signal.SIGINT, signal.SIG_IGN); signal.signal(signal.SIGTERM, signal.SIG_IGN)
groups = set()
for line in sys.stdin:
    (groups.add if line[0] == "+" else groups.discard)(int(line[1:]))
for sig in (signal.SIGTERM, signal.SIGKILL):
    for group in groups:
        try: os.killpg(group, sig)
        except OSError: pass
    time.sleep(1 if groups and sig == signal.SIGTERM else 0)
"""
_lock = threading.Lock()
_helper: subprocess.Popen[str] | None = None


def _tell(line: str) -> None:
    global _helper
    with _lock:
        if _helper is None or _helper.poll() is not None:
            _helper = subprocess.Popen(
                [sys.executable, "-S", "-E", "-c", _PROGRAM],
                stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, start_new_session=True,
            )
        assert _helper.stdin is not None
        _helper.stdin.write(line + "\n")
        _helper.stdin.flush()


def started(group: int) -> None:
    _tell(f"+{group}")


def ended(group: int) -> None:
    _tell(f"-{group}")


def signal_group(group: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):  # it ended by itself
        os.killpg(group, number)

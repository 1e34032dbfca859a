"""A server that is down costs nothing after its first failures."""

from __future__ import annotations

import threading
import time

FAILURES = 3  # in a row, until calls are held back
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0


class Backoff:
    """Closed: every call may go. Open: one call per pause tries again, and each failed try doubles the pause."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._failed = 0
        self._pause_s = 0.0
        self._try_at = 0.0

    def allows(self) -> bool:
        if not self._pause_s:
            return True
        with self._lock:
            now = time.monotonic()
            if now < self._try_at:
                return False
            self._try_at = now + self._pause_s  # whoever asks next waits for the outcome of this try
            return True

    def succeeded(self) -> None:
        if self._failed:
            with self._lock:
                self._failed, self._pause_s = 0, 0.0

    def failed(self) -> None:
        with self._lock:
            self._failed += 1
            if self._failed >= FAILURES:
                self._pause_s = min(LONGEST_PAUSE_S, self._pause_s * 2 or FIRST_PAUSE_S)
                self._try_at = time.monotonic() + self._pause_s

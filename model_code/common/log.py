"""One JSON object per log line: ids, counts and times, never customer text."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from typing import TextIO


def log_event(event: str, *, stream: TextIO | None = None, **fields: object) -> None:
    """Write one structured line; flushed, because a killed job must not lose its last words."""
    line = {"at": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": event, **fields}
    out = stream or sys.stdout
    out.write(json.dumps(line, ensure_ascii=False) + "\n")  # one write: another thread may log, too
    out.flush()

"""JSON lines, written whole or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from data.packages import staging_dir


def write_lines(rows: Iterable[Mapping[str, object]], path: Path) -> int:
    """Write one JSON object a line, in UTF-8 and readable, and return how many."""
    count = 0
    with staging_dir(path.absolute().parent) as staging:
        unfinished = staging / path.name
        with unfinished.open("w", encoding="utf-8", newline="\n") as file:
            for row in rows:
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
                count += 1
        os.replace(unfinished, path)
    return count

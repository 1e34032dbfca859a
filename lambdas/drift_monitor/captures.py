"""Capture and feedback records in S3: which objects a window needs, and the records in them.

Firehose files an object under the UTC hour in which its first record arrived, so a record of
10:59 may lie under 11: the hour after the window is read too.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from contracts import naming
from contracts.inference import FALLBACK_SOURCE
from lambdas.shared.objects import S3Uri, list_objects, read_bytes

_GZIP = b"\x1f\x8b"
_READERS = 8  # objects are small and S3 answers in tens of milliseconds


@dataclass(frozen=True, kw_only=True)
class Window:
    """(start, end], in UTC."""

    end: datetime
    seconds: int

    @property
    def start(self) -> datetime:
        return self.end - timedelta(seconds=self.seconds)

    def holds(self, at: object) -> bool:
        try:
            moment = datetime.fromisoformat(str(at))
        except ValueError:
            return False
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return self.start < moment <= self.end

    def hours(self) -> list[str]:
        """Key parts `yyyy/MM/dd/HH/` that may hold records of this window."""
        hour = self.start.replace(minute=0, second=0, microsecond=0)
        found = []
        while hour <= self.end + timedelta(hours=1):
            found.append(hour.strftime("%Y/%m/%d/%H/"))
            hour += timedelta(hours=1)
        return found


def read_captures(s3: Any, bucket: str, slug: str, window: Window) -> Iterator[dict[str, Any]]:
    """What models answered in the window. A line that is no JSON object is skipped: it must not blind the monitor;
    a fallback is skipped, too: it says nothing of any model."""
    prefix = naming.capture_prefix(slug)
    keys = [
        entry["Key"] for hour in window.hours() for entry in list_objects(s3, S3Uri(bucket, prefix + hour))
    ]
    for record in _records(s3, bucket, keys):
        if record.get("source") != FALLBACK_SOURCE and window.holds(record.get("at")):
            yield record


def read_feedback(s3: Any, bucket: str, slug: str, window: Window) -> dict[str, str]:
    """request_id -> right label, from files written since the window began."""
    keys = [
        entry["Key"]
        for entry in list_objects(s3, S3Uri(bucket, naming.feedback_prefix(slug)))
        if entry["LastModified"] > window.start
    ]
    return {
        record["request_id"]: record["label"]
        for record in _records(s3, bucket, keys)
        if isinstance(record.get("request_id"), str) and isinstance(record.get("label"), str)
    }


def _records(s3: Any, bucket: str, keys: list[str]) -> Iterator[dict[str, Any]]:
    with ThreadPoolExecutor(_READERS) as readers:
        for data in readers.map(lambda key: read_bytes(s3, S3Uri(bucket, key)), keys):
            yield from parse(data)


def parse(data: bytes) -> Iterator[dict[str, Any]]:
    for line in (gzip.decompress(data) if data.startswith(_GZIP) else data).splitlines():
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if isinstance(value, dict):
            yield value

"""What is kept of an answered request, and its way to Firehose. Decision 7: features, never text.

Records are filed by a thread of their own: an answer never waits for Firehose. What waits is bounded; what is lost
(a full queue, a refused record) is counted, and logged with the first one's request_id.
"""

from __future__ import annotations

import json
import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

log = logging.getLogger("mangaassist.fabric")

_FROM_ANSWER = (
    "request_id", "story", "model_version", "language", "intent", "confidence", "source", "cached", "features",
)
MAX_WAITING = 10_000  # about 5 MB
BATCH = 500  # Firehose's limit for one call
LINGER_S = 1.0  # each call takes the interpreter from the answers for some milliseconds; a crash loses this much
CLOSE_S = 5.0
Record = dict[str, Any]


def capture_record(answer: Mapping[str, Any], *, cohort: str | None, daypart: str | None, latency_ms: float,
                   at: datetime) -> Record:
    """The record of one answer; a field the answer lacks is None, so that every record has the same shape."""
    return {
        **{name: answer.get(name) for name in _FROM_ANSWER},
        "at": at.astimezone(UTC).isoformat(),
        "cohort": cohort, "daypart": daypart,
        "latency_ms": round(latency_ms, 3),
    }


def to_line(record: Mapping[str, Any]) -> bytes:
    """One JSON line: Firehose joins records without a separator of its own."""
    return json.dumps(record, sort_keys=True, separators=(",", ":")).encode() + b"\n"


class CaptureFiler:
    """`on_failure` is told how many records were lost."""

    def __init__(self, firehose: Any, stream: str, on_failure: Callable[[int], None]) -> None:
        self._firehose, self._stream, self._on_failure = firehose, stream, on_failure
        self._waiting: deque[Record] = deque()
        self._change = threading.Condition()
        self._closing = False
        self._thread: threading.Thread | None = None

    def file(self, record: Record) -> None:
        """Never blocks on the network; the oldest record makes room when too many wait."""
        with self._change:
            lost = self._waiting.popleft() if len(self._waiting) >= MAX_WAITING else None
            self._waiting.append(record)
            if self._thread is None or not self._thread.is_alive():  # also in a forked child
                self._closing = False
                self._thread = threading.Thread(target=self._run, name="capture", daemon=True)
                self._thread.start()
            elif len(self._waiting) == 1:
                self._change.notify_all()
        if lost is not None:
            self._lose([lost], "too many wait")

    def close(self) -> None:
        """File what waits, for `CLOSE_S` at most, and end the thread."""
        with self._change:
            self._closing = True
            self._change.notify_all()
            thread = self._thread
        if thread is not None:
            thread.join(CLOSE_S)

    def _run(self) -> None:
        while True:
            with self._change:
                self._change.wait_for(lambda: self._waiting or self._closing)
                self._change.wait_for(lambda: self._closing or len(self._waiting) >= BATCH, timeout=LINGER_S)
                batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
                if not batch:
                    self._thread = None
                    return
            self._put(batch)

    def _put(self, batch: list[Record]) -> None:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            answer = self._firehose.put_record_batch(
                DeliveryStreamName=self._stream, Records=[{"Data": to_line(record)} for record in batch])
        except (BotoCoreError, ClientError) as error:
            self._lose(batch, type(error).__name__)
            return
        if answer["FailedPutCount"]:
            refused = [r for r, told in zip(batch, answer["RequestResponses"], strict=True) if "ErrorCode" in told]
            self._lose(refused, "refused")

    def _lose(self, records: list[Record], why: str) -> None:
        self._on_failure(len(records))
        log.warning("capture failed: records=%d first_request_id=%s error=%s", len(records),
                    records[0]["request_id"], why)

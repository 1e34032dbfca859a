"""Which version serves now: the pointer and the global freeze, read in the background, never in a request.

A cached answer may be served only while this client knows what the pointer names:

- what was read is believed for `bound_s`, counted from before the read was sent. Then no hit is served
  until the pointer has been read again; questions go to the endpoint, which is the truth by itself;
- an answer of the endpoint that names another version, and a word of another client through the cache
  (`outdated`), end the belief at once. A candidate that was heard before (a canary answers for minutes)
  only brings the next read forward.

So no hit of the old version is served later than `bound_s` after the pointer has moved, whatever fails.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from contracts import naming, records
from contracts.kill_switches import GLOBAL_FREEZE, parse_flag

log = logging.getLogger("mangaassist.fabric")

BOUND_S = 5.0
_REFRESH_SHARE = 0.4  # of the bound: a read may fail once and the belief still holds
_HURRY_S = 0.25  # between two reads when there is a reason to read
FLAG_TTL_S = 10.0  # not less: Parameter Store answers 40 reads a second for the whole account


@dataclass(frozen=True, kw_only=True)
class Pointer:
    """What the control table said. `token` only grows; `known_good` were promoted, and not rolled back."""

    version: str
    token: int
    known_good: frozenset[str]
    read_at: float  # time.monotonic(), before the read was sent
    heard: set[str] = field(default_factory=set)  # other versions that the endpoint answered with


class ServingVersion:
    """Thread-safe. `clients` are boto3's; both are asked from a thread of their own."""

    def __init__(self, story: str, *, deployment: str, dynamodb: Any, ssm: Any, bound_s: float = BOUND_S,
                 on_unread_flag: Callable[[], None] = lambda: None) -> None:
        self._story, self._table, self.bound_s = story, naming.control_table(deployment), bound_s
        self._dynamodb, self._ssm = dynamodb, ssm
        self._lock = threading.Lock()
        self._pointer: Pointer | None = None
        self._doubted_at = self._started_at = self._flag_read_at = float("-inf")
        self._reading = False
        self._on_unread_flag = on_unread_flag
        self.frozen = False

    def current(self) -> Pointer | None:
        """What the pointer names, or None when that isn't known well enough to serve a cached answer."""
        now, pointer = time.monotonic(), self._pointer
        sure = pointer is not None and self._is_sure(pointer, now)
        if now - self._started_at >= (_REFRESH_SHARE * self.bound_s if sure else _HURRY_S):
            self._refresh_soon()
        return pointer if sure else None

    def still(self, pointer: Pointer) -> bool:
        """Whether what `current` gave may be acted on now, that is after the cache was asked."""
        now = self._pointer
        return now is not None and now.token == pointer.token and self._is_sure(now, time.monotonic())

    def _is_sure(self, pointer: Pointer, now: float) -> bool:
        return now - pointer.read_at <= self.bound_s and pointer.read_at > self._doubted_at

    def heard(self, version: str) -> None:
        """The endpoint answered with this version."""
        pointer = self._pointer
        if pointer is None or version == pointer.version:
            return
        if version not in pointer.heard:
            pointer.heard.add(version)
            self._doubted_at = time.monotonic()
        self._refresh_in_a_hurry()

    def outdated(self) -> None:
        """Another client knows a newer pointer."""
        self._doubted_at = time.monotonic()
        self._refresh_in_a_hurry()

    def accepts(self, version: str) -> bool:
        """Frozen: only what was promoted before, never a candidate. A roll-back is allowed while frozen."""
        pointer = self._pointer
        return not self.frozen or pointer is None or version in pointer.known_good

    def refresh(self) -> bool:
        """Read now; False when the pointer could not be read. For the start of a process, and for the thread."""
        from botocore.exceptions import BotoCoreError, ClientError

        started = time.monotonic()
        if started - self._flag_read_at >= FLAG_TTL_S:
            self._read_freeze()
            self._flag_read_at = started
        try:
            item = self._dynamodb.get_item(
                TableName=self._table, ConsistentRead=True,
                Key={records.CONTROL_PARTITION_KEY: {"S": self._story},
                     records.CONTROL_SORT_KEY: {"S": records.POINTER}},
            ).get("Item")
        except (BotoCoreError, ClientError) as error:
            log.warning("pointer of %s could not be read: %s", self._story, type(error).__name__)
            return False
        with self._lock:
            before = self._pointer
            if before is None or started > before.read_at:
                self._pointer = _pointer(item, started, before) if item else None
        return True

    def _read_freeze(self) -> None:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            raw = self._ssm.get_parameter(Name=GLOBAL_FREEZE.parameter)["Parameter"]["Value"]
        except (BotoCoreError, ClientError):
            raw = None
        value = parse_flag(raw)
        if value is None:
            self._on_unread_flag()
        self.frozen = GLOBAL_FREEZE.safe if value is None else value

    def _refresh_in_a_hurry(self) -> None:
        if time.monotonic() - self._started_at >= _HURRY_S:
            self._refresh_soon()

    def _refresh_soon(self) -> None:
        with self._lock:
            if self._reading:
                return
            self._reading, self._started_at = True, time.monotonic()
        threading.Thread(target=self._refresh_once, name=f"pointer-{self._story}", daemon=True).start()

    def _refresh_once(self) -> None:
        try:
            self.refresh()
        finally:
            self._reading = False


def _pointer(item: Mapping[str, Any], read_at: float, before: Pointer | None) -> Pointer:
    token = int(item["token"]["N"])
    good, older = {item["version"]["S"]}, item.get("previous", {}).get("M")
    while older:
        good.add(older["version"]["S"])
        older = older.get("previous", {}).get("M")
    heard = before.heard if before is not None and before.token == token else set()
    return Pointer(version=item["version"]["S"], token=token, known_good=frozenset(good), read_at=read_at, heard=heard)

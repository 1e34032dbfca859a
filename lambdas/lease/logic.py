"""One writer per model: a lease with a fencing token.

The token grows with every new holder and is never reset, so a holder that was pre-empted or that
outlived its lease is recognised by its old token when it tries to write the pointer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, kw_only=True)
class Lease:
    holder: str  # empty when nobody holds it
    token: int


class LeaseStore(Protocol):
    """Each call is one conditional write; it answers None (or False) when its condition did not hold."""

    def renew(self, holder: str, *, expires_at: int) -> Lease | None:
        """Extend the lease that `holder` holds, expired or not."""

    def acquire(self, holder: str, *, now: int, expires_at: int, preempt: bool) -> Lease | None:
        """Take the lease when it is free or expired, with `preempt` anybody else's too; the token grows.

        Never from `holder` itself: delivered twice at the same time, the second must not outdate the first's token.
        """

    def take_over(self, holder: str, *, after: str, expires_at: int) -> Lease | None:
        """Take the lease that `after` still holds; the token grows."""

    def release(self, holder: str) -> bool:
        """Free the lease when `holder` holds it or was the last to hold it."""

    def read(self) -> Lease: ...


def take(
    store: LeaseStore,
    *,
    holder: str,
    now: int,
    ttl_s: int,
    preempt: bool,
    has_ended: Callable[[str], bool],
) -> tuple[bool, Lease]:
    """(ours?, the lease as it is). The same holder gets its old token again: an answer may have been lost.

    `has_ended` is asked of a holder that is in the way: one that was stopped, or whose giving back failed,
    would block its model until the lease runs out.
    """
    expires_at = now + ttl_s
    held = store.renew(holder, expires_at=expires_at) or store.acquire(
        holder, now=now, expires_at=expires_at, preempt=preempt
    )
    if held is None:
        other = store.read()
        if other.holder not in ("", holder) and has_ended(other.holder):
            held = store.take_over(holder, after=other.holder, expires_at=expires_at)
    lease = held or store.read()
    return lease.holder == holder, lease  # ours without `held`: delivered twice, and the other delivery was quicker

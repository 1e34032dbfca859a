"""Made customers for label rows: who asked, when, and how often that customer had been here by then.

No public utterances come with customers, so both the customers and their histories are made, also where the texts are
real. Each customer goes from new to returning to power user, and asks in all three times: a join that looks at the
customer of today instead of the customer of then marks most rows wrongly.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from contracts.taxonomies import COHORTS

ROWS_A_CUSTOMER = 30
SEED = 14
START = datetime(2026, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)
LATE = timedelta(hours=6)  # from an interaction count to its arrival in the store
# (day, interactions so far) of each customer; the last one is the future of all its rows
HISTORY = ((0, 1), (20, 7), (45, 61), (80, 90))
# cohort -> from which to which day a customer asks in it: a count is known when it has arrived
ASKS = {"new": (LATE, 20 * DAY + LATE), "returning": (20 * DAY + LATE, 45 * DAY + LATE),
        "power_user": (45 * DAY + LATE, 80 * DAY)}
UNSEEN_SHARE = 0.15  # of the new: the store has never heard of them


@dataclass(frozen=True, kw_only=True)
class Customers:
    """`rows`: the label rows, each with customer_id and asked_at. `history`: records of the customer-cohort group."""

    rows: tuple[dict[str, Any], ...]
    history: tuple[dict[str, Any], ...]


def attach(rows: Iterable[Mapping[str, object]], *, seed: int = SEED) -> Customers:
    """The same rows and seed give the same customers. A row's `cohort` is kept to; without one it is drawn."""
    found = [dict(row) for row in rows]
    rng = random.Random(seed)
    customers = max(1, len(found) // ROWS_A_CUSTOMER)
    for row in found:
        cohort = str(row.get("cohort") or rng.choice(COHORTS))
        number, (first, last) = rng.randrange(customers), ASKS[cohort]
        unseen = cohort == "new" and rng.random() < UNSEEN_SHARE
        asked = _start(number) + first + timedelta(seconds=rng.randrange(int((last - first).total_seconds())))
        row |= {"customer_id": f"made-{'unseen' if unseen else 'customer'}-{number:05}", "asked_at": _text(asked)}
    history = tuple(
        {"customer_id": f"made-customer-{number:05}", "event_time": _text(_start(number) + day * DAY),
         "arrived_at": _text(_start(number) + day * DAY + LATE), "interactions": count}
        for number in range(customers) for day, count in HISTORY)
    return Customers(rows=tuple(found), history=history)


def _start(number: int) -> datetime:
    return START + timedelta(hours=number % 720)


def _text(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")

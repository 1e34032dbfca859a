"""The roster of all eight stories and the contracts of those that are built."""

from __future__ import annotations

from graphlib import TopologicalSorter

from contracts.stories.intent_classifier import INTENT_CLASSIFIER
from contracts.stories.roster import ROSTER
from contracts.story import RosterEntry, StoryContract

CONTRACTS: dict[str, StoryContract] = {INTENT_CLASSIFIER.slug: INTENT_CLASSIFIER}


def story(slug: str) -> StoryContract:
    """The contract of a built story; ValueError names the allowed ones."""
    if slug in CONTRACTS:
        return CONTRACTS[slug]
    if slug in ROSTER:
        raise ValueError(
            f"story {slug!r} is on the roster but not built yet: allowed are {', '.join(CONTRACTS)}"
        )
    raise ValueError(f"unknown story {slug!r}: allowed are {', '.join(CONTRACTS)}")


def deploy_order() -> tuple[RosterEntry, ...]:
    """Upstream before downstream; ties by story code, so that the order never changes by chance."""
    sorter = TopologicalSorter({e.slug: set(e.upstream) for e in ROSTER.values()})
    sorter.prepare()
    order: list[RosterEntry] = []
    while sorter.is_active():
        ready = sorted((ROSTER[slug] for slug in sorter.get_ready()), key=lambda e: e.code)
        order.extend(ready)
        sorter.done(*(e.slug for e in ready))
    return tuple(order)


__all__ = ["CONTRACTS", "ROSTER", "deploy_order", "story"]

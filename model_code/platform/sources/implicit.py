"""Labels that customers give without being asked: an intent they corrected or went through with.

The stream may deliver an event twice and in any order: an event counts once, by its id, and a customer has one
voice per item, the latest. An item needs `MIN_CUSTOMERS` voices and `MIN_SHARE` of them for one label.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from model_code.platform.sources.batch import LabelBatch, Proposed, Quarantined

MIN_CUSTOMERS, MIN_SHARE = 3, 0.8
SIGNALS = ("corrected", "completed")  # chose another intent; went through with the one we gave


@dataclass(frozen=True, kw_only=True, order=True)
class Feedback:
    """`customer` is a keyed hash. `at`: ISO 8601 in UTC. `label`: what the customer showed to have meant."""

    item: str
    customer: str
    at: str
    event_id: str
    signal: str
    label: str
    language: str


def implicit_batch(events: Iterable[Feedback], texts: Mapping[str, str], *, who: str, why: str) -> LabelBatch:
    """`texts`: item id -> redacted text. Items whose customers are few or of several minds are quarantined."""
    voices: dict[str, dict[str, Feedback]] = defaultdict(dict)
    for event in sorted({e.event_id: e for e in sorted(events)}.values()):
        if event.signal in SIGNALS:
            voices[event.item][event.customer] = event  # sorted: the latest stays
    proposed, quarantined = [], []
    for item in sorted(voices):
        said = list(voices[item].values())
        counts = Counter(e.label for e in said)
        label, n = min(counts.items(), key=lambda pair: (-pair[1], pair[0]))
        shown = ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
        if item not in texts:
            quarantined.append(Quarantined(id=item, reason="unknown_item", detail="no redacted text of that id"))
        elif len(said) < MIN_CUSTOMERS:
            quarantined.append(Quarantined(id=item, reason="too_few_customers", detail=shown))
        elif n < MIN_SHARE * len(said):
            quarantined.append(Quarantined(id=item, reason="customers_differ", detail=shown))
        else:
            proposed.append(Proposed(id=item, text=texts[item], label=label, language=said[0].language))
    return LabelBatch(source="implicit", who=who, why=why, proposed=tuple(proposed), quarantined=tuple(quarantined))

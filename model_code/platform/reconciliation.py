"""Several vendors labelled the same item: one label, and the rule that gave it, or a quarantined item.

Rules, in this order; the first that applies decides, and its name is the reason code:

1. `adjudicated`: an adjudicator ruled. Adjudicators who differ: `adjudicators_differ`, quarantined.
2. `unanimous`: every annotator of two vendors or more says the same.
3. `single_vendor`: one vendor only, and a strict majority of its annotators. No majority: `vendor_split`.
4. `vendor_majority`: each vendor has one voice, its own strict majority (a split vendor has none); more than
   half of all vendors say the same.
5. `reliable_vendor`: vendors differ, and the best of them agreed with adjudicated items by `MIN_LEAD` kappa
   more, in this language, than any vendor that says otherwise.
6. `annotator_majority`: more than half of all annotators say the same.
7. `unresolved`: quarantined for an adjudicator.

Before that, an annotator who labelled an item more than once counts with the highest revision; two labels in
one revision are withdrawn. Nothing depends on the order of votes.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

ADJUDICATED, ADJUDICATORS_DIFFER = "adjudicated", "adjudicators_differ"
UNANIMOUS, SINGLE_VENDOR, VENDOR_SPLIT = "unanimous", "single_vendor", "vendor_split"
VENDOR_MAJORITY, RELIABLE_VENDOR = "vendor_majority", "reliable_vendor"
ANNOTATOR_MAJORITY, UNRESOLVED, NO_VOTES = "annotator_majority", "unresolved", "all_votes_withdrawn"
MIN_LEAD = 0.05  # kappa; less is within what a few hundred adjudicated items can tell

# (vendor, language) -> kappa against adjudicated items; a vendor that was never measured is absent
Reliability = Mapping[tuple[str, str], float]


@dataclass(frozen=True, kw_only=True, order=True)
class Vote:
    item: str
    vendor: str
    annotator: str
    label: str
    language: str
    revision: int = 0
    adjudicator: bool = False


@dataclass(frozen=True, kw_only=True)
class Decision:
    """`label` is None when the item is quarantined. `votes` are those that counted, "vendor/annotator" -> label."""

    item: str
    label: str | None
    reason: str
    votes: tuple[tuple[str, str], ...]

    def explain(self) -> str:
        said = ", ".join(f"{who} said {label}" for who, label in self.votes) or "no vote counted"
        return f"{self.item}: {self.label or 'quarantined'} by rule {self.reason} ({said})"


def reconcile(votes: Iterable[Vote], *, reliability: Reliability | None = None) -> list[Decision]:
    """One decision per item, by item id.

    Raises
    ------
    ValueError
        Votes on one item name different languages: reliability is per language.
    """
    by_item: dict[str, list[Vote]] = defaultdict(list)
    for vote in votes:
        by_item[vote.item].append(vote)
    return [_decide(item, by_item[item], reliability or {}) for item in sorted(by_item)]


def _decide(item: str, votes: list[Vote], reliability: Reliability) -> Decision:
    languages = sorted({v.language for v in votes})
    if len(languages) > 1:
        raise ValueError(f"item {item!r}: votes name the languages {', '.join(languages)}; an item has one")
    counted = _counted(votes)
    label, reason = _rule(counted, languages[0], reliability)
    shown = tuple((f"{v.vendor}/{v.annotator}", v.label) for v in counted)
    return Decision(item=item, label=label, reason=reason, votes=shown)


def _counted(votes: Iterable[Vote]) -> list[Vote]:
    """One vote per annotator and role, in an order of its own."""
    latest: dict[tuple[str, str, bool], set[Vote]] = {}
    for vote in votes:
        who = (vote.vendor, vote.annotator, vote.adjudicator)
        known = latest.get(who, set())
        newest = max((v.revision for v in known), default=vote.revision)
        if vote.revision >= newest:
            latest[who] = {v for v in known if v.revision == vote.revision} | {vote}
    return sorted(next(iter(said)) for said in latest.values() if len(said) == 1)


def _rule(votes: list[Vote], language: str, reliability: Reliability) -> tuple[str | None, str]:
    rulings = {v.label for v in votes if v.adjudicator}
    if rulings:
        return (rulings.pop(), ADJUDICATED) if len(rulings) == 1 else (None, ADJUDICATORS_DIFFER)
    if not votes:
        return None, NO_VOTES
    by_vendor: dict[str, list[str]] = defaultdict(list)
    for vote in votes:
        by_vendor[vote.vendor].append(vote.label)
    everybody = [v.label for v in votes]
    if len(by_vendor) == 1:
        label = _majority(everybody)
        return label, SINGLE_VENDOR if label else VENDOR_SPLIT
    if len(set(everybody)) == 1:
        return everybody[0], UNANIMOUS
    voices = {vendor: label for vendor, labels in by_vendor.items() if (label := _majority(labels))}
    if label := _majority(list(voices.values()), of=len(by_vendor)):
        return label, VENDOR_MAJORITY
    if label := _most_reliable(voices, language, reliability):
        return label, RELIABLE_VENDOR
    label = _majority(everybody)
    return label, ANNOTATOR_MAJORITY if label else UNRESOLVED


def _majority(labels: list[str], *, of: int | None = None) -> str | None:
    """The label that more than half say, of `of` voices (all of `labels` unless given)."""
    if not labels:
        return None
    label, n = Counter(labels).most_common(1)[0]
    return label if 2 * n > (of or len(labels)) else None


def _most_reliable(voices: Mapping[str, str], language: str, reliability: Reliability) -> str | None:
    """None unless every vendor with a voice was measured: an unknown one may be the better one."""
    measured = {vendor: reliability.get((vendor, language)) for vendor in voices}
    known = {vendor: kappa for vendor, kappa in measured.items() if kappa is not None}
    if not known or len(known) < len(measured):
        return None
    best = min(known, key=lambda vendor: (-known[vendor], vendor))
    others = [known[vendor] for vendor, label in voices.items() if label != voices[best]]
    return voices[best] if others and known[best] - max(others) >= MIN_LEAD else None

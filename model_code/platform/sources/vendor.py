"""Labels that vendors send: several votes per item, reconciled into one explained label."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from model_code.platform.reconciliation import Reliability, Vote, reconcile
from model_code.platform.sources.batch import LabelBatch, Proposed, Quarantined


def vendor_batch(votes: Iterable[Vote], texts: Mapping[str, str], *, who: str, why: str,
                 reliability: Reliability | None = None) -> LabelBatch:
    """`texts`: item id -> the text that was sent out. A vote on anything else is `unknown_item`."""
    votes = list(votes)
    annotators = sorted({(v.vendor, v.annotator) for v in votes if not v.adjudicator})
    languages = {v.item: v.language for v in votes}
    proposed, quarantined = [], []
    for decision in reconcile(votes, reliability=reliability):
        if decision.item not in texts:
            quarantined.append(Quarantined(id=decision.item, reason="unknown_item", detail="was not sent out"))
            continue
        said = dict(decision.votes)
        counted = tuple(said.get(f"{vendor}/{annotator}") for vendor, annotator in annotators)
        if decision.label is None:
            quarantined.append(Quarantined(id=decision.item, reason=decision.reason, detail=decision.explain(),
                                           language=languages[decision.item], votes=counted))
        else:
            proposed.append(Proposed(id=decision.item, text=texts[decision.item], label=decision.label,
                                     language=languages[decision.item], keep_votes=True, votes=counted))
    return LabelBatch(source="vendor", who=who, why=why, proposed=tuple(proposed), quarantined=tuple(quarantined))

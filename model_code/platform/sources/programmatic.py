"""Labels by rule: functions that each name a label or abstain; coverage and conflicts of each are reported.

A row takes the label that most functions name. No vote: `no_function_applies`; a tie: `functions_conflict`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from model_code.platform.sources.batch import LabelBatch, Proposed, Quarantined

LabellingFunction = Callable[[str], str | None]  # None: abstains


@dataclass(frozen=True, kw_only=True)
class Text:
    id: str
    text: str
    language: str


@dataclass(frozen=True, kw_only=True)
class FunctionReport:
    """Shares of all rows: that it labelled, that another labels too, that another labels otherwise."""

    coverage: float
    overlap: float
    conflict: float


def programmatic_batch(rows: Sequence[Text], functions: Mapping[str, LabellingFunction], *, who: str,
                       why: str) -> tuple[LabelBatch, dict[str, FunctionReport]]:
    """The batch, and function name -> its report. ValueError without functions."""
    if not functions:
        raise ValueError("programmatic labels need at least one labelling function, got none")
    votes = [tuple(function(row.text) for function in functions.values()) for row in rows]
    proposed, quarantined = [], []
    for row, said in zip(rows, votes, strict=True):
        ranked = Counter(v for v in said if v is not None).most_common(2)
        shown = ", ".join(f"{name} said {v}" for name, v in zip(functions, said, strict=True) if v is not None)
        if not ranked:
            quarantined.append(Quarantined(id=row.id, reason="no_function_applies"))
        elif len(ranked) == 2 and ranked[0][1] == ranked[1][1]:
            quarantined.append(Quarantined(id=row.id, reason="functions_conflict", detail=shown))
        else:
            proposed.append(Proposed(id=row.id, text=row.text, label=ranked[0][0], language=row.language, votes=said))
    batch = LabelBatch(source="programmatic", who=who, why=why, proposed=tuple(proposed),
                       quarantined=tuple(quarantined))
    return batch, {name: _report(place, votes) for place, name in enumerate(functions)}


def _report(place: int, votes: Sequence[Sequence[str | None]]) -> FunctionReport:
    n = max(1, len(votes))
    labelled = [(said[place], {v for i, v in enumerate(said) if i != place and v is not None})
                for said in votes if said[place] is not None]
    return FunctionReport(coverage=len(labelled) / n, overlap=sum(bool(others) for _, others in labelled) / n,
                          conflict=sum(bool(others - {own}) for own, others in labelled) / n)

"""Labels by a language model: audited against people before any is taken, and capped in every class.

Of a class at most `MAX_CLASS_SHARE` may come from the model: with h labels by people, at most h * share / (1 - share).
Which ones stay depends on confidence and id only. Precision is that of the audited rows; a batch with fewer
than `MIN_AUDITED` is not taken, and neither is a class of its own whose audit says that it is bad.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from model_code.platform.sources.batch import LabelBatch, Proposed, Quarantined

MAX_CLASS_SHARE, MIN_PRECISION = 0.25, 0.90
MIN_AUDITED, MIN_AUDITED_IN_CLASS = 100, 20


@dataclass(frozen=True, kw_only=True)
class Distilled:
    id: str
    text: str
    label: str
    language: str
    confidence: float


@dataclass(frozen=True, kw_only=True)
class AuditReport:
    """`low`: lower end of the 95 % Wilson interval of the precision (Wilson 1927). NaN without audited rows."""

    audited: int
    precision: float
    low: float
    by_class: dict[str, float]


def distilled_batch(rows: Iterable[Distilled], audited: Mapping[str, str], by_people: Mapping[str, int], *, who: str,
                    why: str) -> tuple[LabelBatch, AuditReport]:
    """`audited`: row id -> what people said; `by_people`: label -> how many labels by people there are."""
    rows = sorted(rows, key=lambda r: (-r.confidence, r.id))
    report = audit([(row.label, audited[row.id]) for row in rows if row.id in audited])
    taken: dict[str, int] = defaultdict(int)
    proposed, quarantined = [], []
    for row in rows:
        limit = math.floor(by_people.get(row.label, 0) * MAX_CLASS_SHARE / (1 - MAX_CLASS_SHARE) + 1e-9)
        reason = _refusal(row, audited, report)
        if reason is None and taken[row.label] >= limit:
            reason = "over_class_cap"
        if reason is not None:
            quarantined.append(Quarantined(id=row.id, reason=reason, detail=row.label))
        else:
            taken[row.label] += 1
            proposed.append(Proposed(id=row.id, text=row.text, label=row.label, language=row.language))
    return LabelBatch(source="llm_distilled", who=who, why=why, proposed=tuple(proposed),
                      quarantined=tuple(quarantined)), report


def _refusal(row: Distilled, audited: Mapping[str, str], report: AuditReport) -> str | None:
    if report.audited < MIN_AUDITED:
        return "not_audited"
    if report.precision < MIN_PRECISION or report.by_class.get(row.label, 1.0) < MIN_PRECISION:
        return "low_precision"
    return "audited_wrong" if audited.get(row.id, row.label) != row.label else None


def audit(pairs: list[tuple[str, str]]) -> AuditReport:
    """`pairs`: (the model's label, the people's). A class is judged alone from `MIN_AUDITED_IN_CLASS` rows."""
    n, right = len(pairs), sum(a == b for a, b in pairs)
    by_class: dict[str, list[bool]] = defaultdict(list)
    for model, people in pairs:
        by_class[model].append(model == people)
    judged = {label: sum(hits) / len(hits) for label, hits in sorted(by_class.items())
              if len(hits) >= MIN_AUDITED_IN_CLASS}
    return AuditReport(audited=n, precision=right / n if n else math.nan, low=wilson_low(right, n), by_class=judged)


def wilson_low(right: int, n: int, z: float = 1.96) -> float:
    if n == 0:
        return math.nan
    p = right / n
    middle, spread = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return (middle - spread) / (1 + z * z / n)

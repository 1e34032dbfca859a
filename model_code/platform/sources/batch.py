"""One batch of labels, whatever its source: what is accepted, what is quarantined and why, how far annotators agree.

A source proposes rows; the schema check and the agreement check are the same for all. What is accepted is written as
the label file that the ingest job takes, so there is one way into `label_records`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from contracts.agreement import Agreement, Labels, agreement
from contracts.datasets import SOURCES, LabelRow, validate_lines
from contracts.naming import PROVENANCE_FILE
from contracts.taxonomies import Taxonomy

MIN_DOUBLE_ROWS = 30  # rows with two labels; kappa of fewer says too little to throw a language out
LOW_AGREEMENT = "low_agreement"


@dataclass(frozen=True, kw_only=True)
class Proposed:
    """A row that a source would like to have, and what its annotators said of it (None: did not)."""

    id: str
    text: str
    label: str
    language: str
    votes: Labels = ()
    keep_votes: bool = False  # as `annotator_labels`: people, whose kappa gates the freeze


@dataclass(frozen=True, kw_only=True)
class Quarantined:
    id: str
    reason: str  # a short code, counted in reports
    detail: str = ""  # ids and labels, never customer text
    language: str = ""
    votes: Labels = ()  # count for the agreement: leaving out what was disputed would flatter it


@dataclass(frozen=True, kw_only=True)
class LabelBatch:
    """`quarantined` is what the source itself turned down."""

    source: str
    who: str
    why: str
    proposed: tuple[Proposed, ...]
    quarantined: tuple[Quarantined, ...] = ()

    def __post_init__(self) -> None:
        if self.source not in SOURCES:
            raise ValueError(f"source must be one of {', '.join(SOURCES)}, got {self.source!r}")


@dataclass(frozen=True, kw_only=True)
class Settled:
    """Every row that came in is in exactly one of `accepted` and `quarantined`, both by id."""

    accepted: tuple[LabelRow, ...]
    quarantined: tuple[Quarantined, ...]
    agreement: dict[str, Agreement]

    def reasons(self) -> dict[str, int]:
        return dict(sorted(Counter(q.reason for q in self.quarantined).items()))


def settle(batch: LabelBatch, *, taxonomy: Taxonomy, min_kappa: float) -> Settled:
    """Schema check, then agreement: a language under `min_kappa` is quarantined as a whole."""
    rows = sorted(batch.proposed, key=lambda p: p.id)
    good, quarantined = _schema_checked(batch.source, rows, taxonomy)
    votes: dict[str, list[Labels]] = {}
    said = [(p.language, p.votes) for p in rows if p.id in good]
    said += [(q.language, q.votes) for q in batch.quarantined if q.votes]
    for language, labels in said:
        votes.setdefault(language, []).append(labels)
    found = {language: one for language in sorted(votes) if (one := agreement(language, votes[language])) is not None}
    low = {language for language, one in found.items()
           if one.rows >= MIN_DOUBLE_ROWS and not one.kappa >= min_kappa}
    why = {language: f"kappa {found[language].kappa:.3f} in {language}, at least {min_kappa}" for language in low}
    quarantined += [Quarantined(id=row.id, reason=LOW_AGREEMENT, detail=why[row.language])
                    for row in good.values() if row.language in low]
    return Settled(
        accepted=tuple(row for row in good.values() if row.language not in low), agreement=found,
        quarantined=tuple(sorted((*batch.quarantined, *quarantined), key=lambda q: (q.id, q.reason))))


def _schema_checked(source: str, rows: Sequence[Proposed], taxonomy: Taxonomy) -> tuple[
        dict[str, LabelRow], list[Quarantined]]:
    """The rules of label files, applied by the code that applies them to label files."""
    if not rows:
        return {}, []
    lines = [json.dumps({"id": p.id, "text": p.text, "label": p.label, "language": p.language, "source": source,
                         "annotator_labels": [v for v in p.votes if v is not None] if p.keep_votes else []}).encode()
             for p in rows]
    checked = validate_lines(lines, file=source, taxonomy=taxonomy)
    bad = [Quarantined(id=rows[p.row - 1].id, reason=p.reason, detail=f"{p.field}: {p.allowed}"[:200])
           for p in checked.problems]
    return {row.id: row for row in checked.rows}, bad


def write_label_file(settled: Settled, batch: LabelBatch, folder: Path) -> Path:
    """labels.jsonl and provenance.json, as the ingest job takes them; the same batch gives the same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "labels.jsonl"
    body = "".join(json.dumps(row.to_dict(), ensure_ascii=False, sort_keys=True) + "\n" for row in settled.accepted)
    path.write_text(body, "utf-8")
    (folder / PROVENANCE_FILE).write_text(json.dumps({"who": batch.who, "why": batch.why}), "utf-8")
    return path

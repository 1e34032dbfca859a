"""Who sends a batch and why: without it, no label that is there already may be changed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from contracts.datasets import LabelFileError, RowProblem, Validation, parse_lines
from contracts.naming import PROVENANCE_FILE
from model_code.common.iceberg import EDITABLE, LabelRecords
from model_code.common.label_history import Provenance, edits_of

EDIT_WITHOUT_PROVENANCE = "edit_without_provenance"


def find_provenance(folder: Path) -> Provenance | None:
    """LabelFileError when there is one that doesn't say who and why."""
    path = folder / PROVENANCE_FILE
    if not path.exists():
        return None
    try:
        raw = json.loads(path.read_text("utf-8"))
    except ValueError:
        raw = None
    said = [raw.get(name) for name in ("who", "why")] if isinstance(raw, dict) else []
    texts = [text for text in said if isinstance(text, str) and text.strip()]
    if len(texts) != 2:
        raise LabelFileError(f'{PROVENANCE_FILE}: needed is {{"who": ..., "why": ...}}, both non-empty texts')
    return Provenance(who=texts[0], why=texts[1])


def without_edits(validation: Validation, lines: Sequence[bytes], records: LabelRecords, story: str) -> Validation:
    """Rows that would change a label become bad rows: nobody says who changes it and why."""
    edited = {edit.id: edit.field for edit in edits_of(validation.rows, records.known(story))}
    if not edited:
        return validation
    numbers: dict[str, int] = {}
    for number, raw in parse_lines(lines):
        if isinstance(raw, dict) and isinstance(raw.get("id"), str):
            numbers.setdefault(raw["id"], number)
    allowed = f"a changed {', '.join(EDITABLE)} with a {PROVENANCE_FILE} beside the file"
    problems = [RowProblem(row=numbers[id_], field=field, reason=EDIT_WITHOUT_PROVENANCE, allowed=allowed)
                for id_, field in edited.items()]
    return replace(validation, rows=tuple(row for row in validation.rows if row.id not in edited),
                   problems=tuple(sorted((*validation.problems, *problems), key=lambda p: p.row)))

"""Processing job: one label file -> good rows in `label_records`, bad rows in quarantine.

    python -m model_code.platform.ingest_labels --incoming DIR --output DIR --story SLUG --batch-id ID

Environment: GLUE_DATABASE, ICEBERG_WAREHOUSE (s3://lake/iceberg/). DIR of --incoming holds one
*.jsonl and, optionally, its *.taxonomy.json and provenance.json {"who", "why"}: a row that changes a label
that is there already needs it, and goes to `label_edits`, too. Agreement per language goes to `iaa_metrics`.
The output (bad_rows.jsonl with the raw lines, and summary.json with counts only) goes to the encrypted
quarantine. The exit message says {"status": "ingested" | "too_many_bad", "rows", "bad", "label_version",
"snapshot_id", "reasons", "edits", "edited", "kappa"}.
More than 1 % bad rows, or a file that is unusable as a whole, append nothing; the job itself succeeds.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from contracts.agreement import Agreement, agreement_by_language
from contracts.datasets import MAX_BAD_SHARE, LabelFileError, Validation, declared_taxonomy, validate_lines
from contracts.environment import Environment
from model_code.common.iceberg import LabelRecords, glue_catalog
from model_code.common.label_history import LabelHistory, Provenance, edits_of
from model_code.common.log import log_event
from model_code.common.sagemaker_job import write_exit_message
from model_code.platform.provenance import find_provenance, without_edits

BAD_ROWS_FILE, SUMMARY_FILE = "bad_rows.jsonl", "summary.json"
MAX_DETAIL_CHARS = 400  # the exit message has 1 KB for everything


@dataclass(frozen=True, kw_only=True)
class LabelEnv(Environment):
    GLUE_DATABASE: str
    ICEBERG_WAREHOUSE: str


def find_label_file(folder: Path) -> Path:
    found = sorted(folder.glob("*.jsonl"))
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise LabelFileError(f"{folder}: expected one *.jsonl label file, found {names}")
    return found[0]


def write_quarantine(validation: Validation, lines: Sequence[bytes], output: Path) -> dict[str, Any]:
    """Both quarantine files; returns the summary."""
    output.mkdir(parents=True, exist_ok=True)
    with (output / BAD_ROWS_FILE).open("w", encoding="utf-8") as stream:
        for problem in validation.problems:
            raw = lines[problem.row - 1].decode("utf-8", errors="backslashreplace").rstrip("\n")
            stream.write(json.dumps({"row": problem.row, "field": problem.field, "reason": problem.reason,
                                     "allowed": problem.allowed, "line": raw}) + "\n")
    summary = {"file": validation.file, "rows": validation.total, "good": len(validation.rows),
               "bad": validation.total - len(validation.rows), "max_bad_share": MAX_BAD_SHARE,
               "reasons": validation.reasons()}
    (output / SUMMARY_FILE).write_text(json.dumps(summary, indent=1), "utf-8")
    return summary


def unusable(error: LabelFileError, output: Path) -> dict[str, Any]:
    """The answer for what can't be read at all; why is in the summary."""
    output.mkdir(parents=True, exist_ok=True)
    (output / SUMMARY_FILE).write_text(json.dumps({"unusable": str(error)}, indent=1), "utf-8")
    return {"status": "too_many_bad", "rows": 0, "bad": 0, "label_version": 0, "snapshot_id": "",
            "edited": False, "reasons": {"unusable_file": 1}, "detail": str(error)[:MAX_DETAIL_CHARS]}


def ingest(incoming: Path, output: Path, *, story: str, batch_id: str, records: LabelRecords,
           found: Mapping[str, Agreement] | None = None) -> dict[str, Any]:
    """Validate, quarantine, append; the answer is the exit message.

    `found`: agreement over more than the rows that are appended; theirs when absent.
    """
    try:
        path = find_label_file(incoming)
        with path.open("rb") as stream:
            lines = list(stream)
        validation = validate_lines(lines, file=path.name, taxonomy=declared_taxonomy(path))
        provenance = find_provenance(incoming)
    except LabelFileError as error:
        return unusable(error, output)
    if provenance is None:
        validation = without_edits(validation, lines, records, story)
    summary = write_quarantine(validation, lines, output)
    answer = {"rows": len(validation.rows), "bad": summary["bad"], "reasons": summary["reasons"]}
    if validation.too_many_bad:
        return {"status": "too_many_bad", **answer, "label_version": 0, "snapshot_id": "", "edited": False}
    done = records.append(story, batch_id, validation.rows, taxonomy=json.dumps(asdict(validation.taxonomy)))
    history = remember(validation, story, batch_id, records, provenance, label_version=done.label_version,
                       agreement=agreement_by_language(validation.rows) if found is None else found)
    # The snapshot id as text: it has 19 digits, and JSON readers in workflows keep 15.
    return {"status": "ingested", **answer, "label_version": done.label_version,
            "snapshot_id": str(done.snapshot_id), **history}


def remember(validation: Validation, story: str, batch_id: str, records: LabelRecords, provenance: Provenance | None,
             *, label_version: int, agreement: Mapping[str, Agreement]) -> dict[str, Any]:
    """Edits and agreement of an appended batch; what the exit message says of them.

    Compared with the labels below the batch's own version, so a retry finds the same edits.
    """
    history = LabelHistory(catalog=records.catalog, database=records.database)
    edits = edits_of(validation.rows, records.known(story, below=label_version)) if provenance else []
    if provenance:
        history.add_edits(story, batch_id, edits, label_version=label_version, provenance=provenance)
    keep_agreement(agreement, story, batch_id, records, label_version=label_version)
    return {"edits": len(edits), "edited": bool(edits),
            "kappa": {language: round(one.kappa, 4) for language, one in agreement.items()}}


def keep_agreement(found: Mapping[str, Agreement], story: str, batch_id: str, records: LabelRecords, *,
                   label_version: int) -> None:
    """Version 0: of a batch of which nothing was appended."""
    history = LabelHistory(catalog=records.catalog, database=records.database)
    history.add_agreement(story, batch_id, found.values(), label_version=label_version)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--incoming", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--story", required=True)
    parser.add_argument("--batch-id", required=True)
    args = parser.parse_args(argv)
    environ = LabelEnv.from_environ(os.environ)
    records = LabelRecords(catalog=glue_catalog(environ.ICEBERG_WAREHOUSE), database=environ.GLUE_DATABASE)
    answer = ingest(args.incoming, args.output, story=args.story, batch_id=args.batch_id, records=records)
    write_exit_message(answer)
    log_event("labels", story=args.story, batch_id=args.batch_id, **answer)


if __name__ == "__main__":
    main()

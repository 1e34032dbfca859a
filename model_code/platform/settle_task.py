"""Processing job: one task and all its deliveries -> `label_records`, once everybody who was asked has delivered.

    python -m model_code.platform.settle_task --task DIR --deliveries DIR --output DIR --story SLUG --batch-id ID

Environment as for the ingest job, whose last steps these are. Until the last delivery is there the exit message says
{"status": "waiting", "missing": [...]}, and nothing is written. Then every row is accepted or quarantined with its
reason; agreement is that of the whole task, disputed items included, and is kept in `iaa_metrics` even when nothing is
accepted ("too_many_bad"). A delivery that comes later settles the task anew: what changes is an edit.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from contracts.datasets import LabelFileError
from contracts.label_tasks import LabelTask, parse_task
from contracts.naming import TASK_FILE
from contracts.stories import story as story_contract
from model_code.common.iceberg import LabelRecords, glue_catalog
from model_code.common.log import log_event
from model_code.common.sagemaker_job import write_exit_message
from model_code.platform.freeze_dataset import newest
from model_code.platform.ingest_labels import (
    BAD_ROWS_FILE,
    SUMMARY_FILE,
    LabelEnv,
    ingest,
    keep_agreement,
    unusable,
)
from model_code.platform.labelling_functions import labelling_functions
from model_code.platform.sources.batch import Settled, settle, write_label_file
from model_code.platform.task_batch import batch_of, read_deliveries

MAX_NAMED = 8  # reasons in the exit message, which has 1 KB; the summary has all


def _json(path: Path) -> object:
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return None


def settle_task(task_folder: Path, inbox: Path, output: Path, *, story: str, records: LabelRecords) -> dict[str, Any]:
    """The answer is the exit message."""
    try:
        task = parse_task(_json(task_folder / TASK_FILE))
    except LabelFileError as error:
        return unusable(error, output)
    names = sorted(path.name for path in inbox.glob("*.json"))
    deliveries, refused = read_deliveries(task, {name: _json(inbox / name) for name in names})
    if missing := sorted(set(task.by) - {who for who, _, _ in deliveries}):
        return {"status": "waiting", "missing": missing[:MAX_NAMED], "edited": False}
    batch, bad = batch_of(task, deliveries, by_people=_by_people(records, story, task),
                          functions=labelling_functions(story, task.taxonomy.name))
    settled = settle(batch, taxonomy=task.taxonomy, min_kappa=story_contract(story).labels.min_kappa)
    settled = replace(settled, accepted=_with_context(settled, task),
                      quarantined=tuple((*refused, *bad, *settled.quarantined)))
    summary = _quarantine(settled, task, output)
    answer = {"rows": len(settled.accepted), "bad": summary["bad"],
              "reasons": dict(list(summary["reasons"].items())[:MAX_NAMED])}
    # A task with other deliveries is another batch; the same ones, settled twice, are the same.
    batch_id = f"{task.name}-{hashlib.sha256(' '.join(names).encode()).hexdigest()[:12]}"
    kept = {"batch": batch_id, **answer, **_kappa(settled)}
    if not settled.accepted:
        keep_agreement(settled.agreement, story, batch_id, records, label_version=0)
        return {"status": "too_many_bad", **kept, "label_version": 0, "snapshot_id": "", "edited": False}
    with tempfile.TemporaryDirectory() as folder:
        path = write_label_file(settled, batch, Path(folder))
        path.with_suffix(".taxonomy.json").write_text(json.dumps(asdict(task.taxonomy)), "utf-8")
        done = ingest(Path(folder), Path(folder) / "none", story=story, batch_id=batch_id, records=records,
                      found=settled.agreement)
    return {**done, **kept}


def _by_people(records: LabelRecords, story: str, task: LabelTask) -> Counter[str]:
    if task.source != "llm_distilled":
        return Counter()
    return Counter(row.label for row in newest(records.read(story)[1])[1] if row.source != "llm_distilled")


def _with_context(settled: Settled, task: LabelTask) -> tuple[Any, ...]:
    """What the task knew of its items stays with the rows: without it they would leave their slices."""
    items = {item.id: item for item in task.items}
    return tuple(replace(row, cohort=items[row.id].cohort, daypart=items[row.id].daypart,
                         group_id=items[row.id].group_id) for row in settled.accepted)


def _kappa(settled: Settled) -> dict[str, Any]:
    return {"kappa": {language: round(one.kappa, 4) for language, one in settled.agreement.items()}}


def _quarantine(settled: Settled, task: LabelTask, output: Path) -> dict[str, Any]:
    """Ids, reasons and labels; no text at all."""
    output.mkdir(parents=True, exist_ok=True)
    with (output / BAD_ROWS_FILE).open("w", encoding="utf-8") as stream:
        for one in settled.quarantined:
            stream.write(json.dumps({"id": one.id, "reason": one.reason, "detail": one.detail}) + "\n")
    summary = {"task": task.name, "source": task.source, "good": len(settled.accepted),
               "bad": len(settled.quarantined), "reasons": settled.reasons(), **_kappa(settled)}
    (output / SUMMARY_FILE).write_text(json.dumps(summary, indent=1), "utf-8")
    return summary


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    for name in ("task", "deliveries", "output"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--story", required=True)
    parser.add_argument("--batch-id", required=True, help="the delivery that started this, for the log")
    args = parser.parse_args(argv)
    environ = LabelEnv.from_environ(os.environ)
    records = LabelRecords(catalog=glue_catalog(environ.ICEBERG_WAREHOUSE), database=environ.GLUE_DATABASE)
    answer = settle_task(args.task, args.deliveries, args.output, story=args.story, records=records)
    write_exit_message(answer)
    log_event("labels", story=args.story, batch_id=args.batch_id, **answer)


if __name__ == "__main__":
    main()

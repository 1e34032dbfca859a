"""Labels damaged on purpose; the gates say no and the champion goes on serving."""

from __future__ import annotations

from typing import Any

from contracts import events, naming
from contracts.datasets import LabelRow
from demo.stage import Stage, expect, expect_outcome

# Enough steps to believe the wrong labels, when it starts from a champion that knows better.
DAMAGED_RUN = {"WarmStart": "champion", "MaxSteps": "16", "CalibrationRows": "0"}


def worse_candidate_rejected(stage: Stage) -> str:
    stage.ingest(stage.write_labels("damaged", damaged(stage)))
    try:
        with stage.unchanged():
            run = stage.retrain(reason="labels damaged on purpose", hyperparameters=DAMAGED_RUN)
            expect_outcome(run, events.REJECTED)
        verdict = stage.evidence(run.name, naming.VERDICT_FILE)
        failed = verdict["failed"]
        expect(bool(failed), "the verdict names no failed gate")
        expect(
            any("slice" in gate or "[" in gate for gate in failed), f"the verdict names no slice: {failed}"
        )
    finally:
        stage.ingest(stage.write_labels("mended", [full(row, "mended") for row in stage.material.rows]))
    accuracy = stage.evidence(run.name, naming.EVALUATION_FILE)["metrics"]["macro_accuracy"]
    shown = ", ".join(failed[:4]) + (f" and {len(failed) - 4} more" if len(failed) > 4 else "")
    return (
        f"macro accuracy {accuracy:.3f}; rejected by {shown}; version {stage.pointer()['version']} "
        "still serves; "
        "the labels are mended again"
    )


def damaged(stage: Stage) -> list[dict[str, Any]]:
    """Every training row gets the next label of the taxonomy; golden rows stay as they are."""
    golden = {row.id for row in stage.material.golden}
    labels = sorted({row.label for row in stage.material.rows})
    following = dict(zip(labels, labels[1:] + labels[:1], strict=True))
    return [
        full(row, "damaged")
        | ({} if row.id in golden else {"label": following[row.label], "annotator_labels": []})
        for row in stage.material.rows
    ]


def full(row: LabelRow, batch: str) -> dict[str, Any]:
    """A row of the label file again. `note` makes the file's digest, and so its batch, a new one."""
    return {key: value for key, value in row.to_dict().items() if value not in (None, [])} | {"note": batch}

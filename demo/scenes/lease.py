"""Two runs start at once and one of them steps back."""

from __future__ import annotations

from cli import executions
from contracts import events
from demo.scenes.worse_candidate import full
from demo.stage import BRIEF, Stage, expect

NEW_LABELS = 20  # a weekly run needs labels that its champion has not seen


def two_retrains_one_lease(stage: Stage) -> str:
    stage.settle()
    stage.ingest(
        stage.write_labels("weekly", [full(row, "weekly") for row in stage.material.rows[:NEW_LABELS]])
    )
    arns = [
        executions.start_retrain(
            stage.target,
            stage.slug,
            trigger=trigger,
            hyperparameters=BRIEF,
            reason=f"{trigger} run of the demo",
            name=executions.new_name(trigger),
        )
        for trigger in ("weekly", "drift")
    ]
    runs = [stage.finish(arn) for arn in arns]
    outcomes = {run.name: run.outcome for run in runs}
    released = [run for run in runs if run.outcome == events.PROMOTED]
    skipped = [run for run in runs if run.outcome == events.SKIPPED_LEASED]
    expect(
        len(released) == 1 and len(skipped) == 1,
        f"wanted one {events.PROMOTED} and one {events.SKIPPED_LEASED}, got {outcomes}",
    )
    version = stage.pointer()["version"]
    return f"{released[0].name} released version {version}; {skipped[0].name} ended as {skipped[0].outcome}"

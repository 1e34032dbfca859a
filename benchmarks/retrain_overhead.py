"""retrain_overhead_seconds: a retrain execution, less training, evaluation and the release's own waits.

What is left is the platform: lease, switches, freeze, prepare, judge, publish, release, promote, audit. A brief
run is measured after a first promotion, so the release is a real update. How long its shadow is watched, each step of
its canary and the time the previous fleet is kept warm are the contract's choice (88 minutes on AWS), not overhead:
they are taken off as the demo's clock factor shortens them, and written beside the number.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.common import ROOT, write
from cli.executions import Finished
from contracts import events, naming
from contracts.deployments import JP
from demo.run import CLOCK_FACTOR, fetch, quiet_environment, stage_for
from demo.scenes import deploy, first_promotion
from demo.stage import BRIEF, Stage, expect_outcome
from demo.world import embedded_aws, synthesise

LIMIT_S = 10.0


def job_seconds(stage: Stage, run: Finished) -> dict[str, float]:
    """Wall seconds of the run's Train and Evaluate steps, as SageMaker tells them."""
    sagemaker = stage.target.client("sagemaker")
    found: dict[str, float] = {}
    newest = sagemaker.list_pipeline_executions(PipelineName=naming.pipeline(stage.slug), SortOrder="Descending")
    arn = newest["PipelineExecutionSummaries"][0]["PipelineExecutionArn"]
    steps: list[dict[str, Any]] = sagemaker.list_pipeline_execution_steps(PipelineExecutionArn=arn)[
        "PipelineExecutionSteps"]
    for step in steps:
        if step["StepName"] in ("Train", "Evaluate"):
            found[step["StepName"]] = (step["EndTime"] - step["StartTime"]).total_seconds()
    if found.keys() != {"Train", "Evaluate"}:
        raise RuntimeError(f"{run.name}: the pipeline has the steps {[s['StepName'] for s in steps]}")
    return found


def main() -> None:
    quiet_environment()
    build = ROOT / "build"
    build.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=build, prefix=".bench-") as scratch:
        folder = Path(scratch)
        material = fetch("snips", Console())
        assembly = synthesise(folder / "cdk.out", deployment=JP)
        with embedded_aws(folder, deployment=JP, clock_factor=CLOCK_FACTOR) as world:
            stage = stage_for(world, material, assembly)
            deploy.deploy(stage)
            first_promotion.first_promotion(stage)
            run = stage.retrain(reason="benchmark", hyperparameters=BRIEF)
            expect_outcome(run, events.PROMOTED)
            jobs = job_seconds(stage, run)
            canary, shadow = stage.story.serving.canary, stage.story.serving.shadow
            watched_s = shadow.watch_s if shadow else 0
            waits = (watched_s + canary.shifting_s + canary.termination_wait_s) / CLOCK_FACTOR
    overhead = run.seconds - sum(jobs.values()) - waits
    write("retrain_overhead_seconds", unit="s", better="lower", ours=overhead, peers={},
          limits={f"<= {LIMIT_S:g} s": overhead <= LIMIT_S},
          extra={"execution_seconds": run.seconds, "release_waits": waits,
                 **{k.lower(): v for k, v in jobs.items()}},
          workload=f"brief SNIPS retrain with release and promotion, waits divided by {CLOCK_FACTOR:g}")


if __name__ == "__main__":
    main()

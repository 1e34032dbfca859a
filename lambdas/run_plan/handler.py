"""{"story", "mode", "run_id", "hyperparameters"?} -> names, addresses and pipeline parameters of the run."""

from __future__ import annotations

from typing import Any

from contracts import naming, stories
from contracts.functions import RunPlanEnv
from lambdas.run_plan.logic import Rooms, plan
from lambdas.shared.aws import client, environment
from lambdas.shared.errors import InvalidInput
from lambdas.shared.observability import instrumented
from lambdas.shared.pointer import read_pointer


@instrumented("run_plan")
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    env = environment(RunPlanEnv)
    story = stories.story(event["story"])
    pointer = read_pointer(client("dynamodb"), env.CONTROL_TABLE, story.slug)
    try:
        planned = plan(
            story,
            run_id=event["run_id"],
            pointer=pointer,
            rooms=Rooms(lake=env.LAKE_BUCKET, artifacts=env.ARTIFACTS_BUCKET),
            hyperparameters=event.get("hyperparameters") or {},
        )
    except ValueError as error:  # so that the state machine does not retry what can't get better
        raise InvalidInput(str(error)) from None
    if pointer is None:
        # SageMaker refuses a job whose input prefix holds no object.
        client("s3").put_object(
            Bucket=env.ARTIFACTS_BUCKET,
            Key=naming.no_champion_prefix(story.slug) + "README",
            Body=b"No champion yet: this model was never promoted.\n",
        )
    return planned

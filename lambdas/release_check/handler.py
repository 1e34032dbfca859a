"""{"story", "endpoint_config_name", "version"} ->
{"state": updating|serving|rolled_back|failed, "reason"}.
"""

from __future__ import annotations

import json
from typing import Any

from contracts import naming, stories
from contracts.functions import ReleaseCheckEnv
from contracts.inference import new_request_id
from lambdas.release_check import logic
from lambdas.release_check.logic import Arrival, State
from lambdas.shared import endpoints
from lambdas.shared.aws import aws_errors, client, environment
from lambdas.shared.errors import ProbeFailed
from lambdas.shared.observability import instrumented
from lambdas.shared.serving_spec import read_spec


@instrumented("release_check")
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    story, version = stories.story(event["story"]).slug, str(event["version"])
    endpoint = naming.endpoint(story)
    found = logic.arrival(endpoints.describe(client("sagemaker"), endpoint), event["endpoint_config_name"])
    if found.state is State.SERVING:
        found = _probe(endpoint, version)
    if found.state is State.SERVING:
        _let_it_scale(endpoint, story)
    return {"state": str(found.state), "reason": found.reason}


def _probe(endpoint: str, version: str) -> Arrival:
    """Ask the endpoint itself: the config's name is only what SageMaker believes."""
    try:
        answer = client("sagemaker-runtime").invoke_endpoint(
            EndpointName=endpoint,
            ContentType="application/json",
            CustomAttributes=f"request_id={new_request_id()}",
            Body=json.dumps({"text": logic.PROBE_TEXT}).encode(),
        )
    except aws_errors() as error:
        raise ProbeFailed(f"{endpoint} is in service but did not answer ({type(error).__name__})") from None
    answered = logic.answered_version(answer["Body"].read())
    if answered != version:
        return Arrival(state=State.FAILED, reason=f"version {answered} answers, not {version}")
    return Arrival(state=State.SERVING)


def _let_it_scale(endpoint: str, story: str) -> None:
    """Registering twice is registering once."""
    spec = read_spec(client("dynamodb"), environment(ReleaseCheckEnv).CONTROL_TABLE, story)
    scaling = client("application-autoscaling")
    scaling.register_scalable_target(**logic.scalable_target(endpoint, spec))
    scaling.put_scaling_policy(**logic.scaling_policy(endpoint, spec))

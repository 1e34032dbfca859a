"""{"story", "version", "state": {} or the last answer's} -> {"verdict": worse|no_worse|no_evidence, "said", "state"}.

One look at a canary: what the containers of candidate and champion answered since the first look, by language. Asked
again with the same state it gives the same answer, or a newer one.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

from contracts import stories
from contracts.functions import CanaryJudgeEnv
from lambdas.canary_judge import logic
from lambdas.canary_judge.logic import Sight
from lambdas.shared.aws import client, environment
from lambdas.shared.observability import instrumented, logger
from lambdas.shared.pointer import read_pointer


@instrumented("canary_judge")
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    env, story, version = environment(CanaryJudgeEnv), stories.story(event["story"]), str(event["version"])
    now = time.time()
    if event["state"]:
        before = Sight.from_json(event["state"])
    else:
        pointer = read_pointer(client("dynamodb"), env.CONTROL_TABLE, story.slug)
        if pointer is None or pointer["version"] == version:
            said = f"no other version serves beside {version}"
            return {"verdict": logic.NO_EVIDENCE, "said": said, "state": {}}
        before = Sight(champion=pointer["version"], since=now)
    sums = _sums(logic.queries(story.slug, champion=before.champion, candidate=version), since=before.since, until=now)
    sight = before.after(logic.totals(sums))
    verdict = logic.judge(sight, story.serving.canary_test, candidate=version)
    logger.info("canary", verdict=verdict.name, said=verdict.said)
    return {"verdict": verdict.name, "said": verdict.said, "state": sight.to_json()}


def _sums(queries: list[dict[str, Any]], *, since: float, until: float) -> dict[str, float]:
    """Query id -> sum since the first look. CloudWatch wants whole minutes, so it begins a little earlier."""
    start = since - since % logic.PERIOD_S
    pages = client("cloudwatch").get_paginator("get_metric_data").paginate(
        MetricDataQueries=queries, StartTime=datetime.fromtimestamp(start, UTC),
        EndTime=datetime.fromtimestamp(until + logic.PERIOD_S, UTC))
    found: dict[str, float] = {}
    for page in pages:
        for result in page["MetricDataResults"]:
            found[result["Id"]] = found.get(result["Id"], 0.0) + sum(result["Values"])
    return found

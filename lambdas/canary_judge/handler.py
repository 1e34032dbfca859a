"""{"story", "version", "shadow"?: {"tolerated_disagreement", "compared_percent"}, "state": {} or the last answer's} ->
{"verdict": worse|no_worse|no_evidence, "said", "state"}.

One look at a canary or, with `shadow`, at a shadow: what the containers of candidate and champion answered since the
first look, by language. Asked again with the same state it gives the same answer, or a newer one.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from contracts import naming, served_log, stories
from contracts.functions import CanaryJudgeEnv
from contracts.served_log import ServedLine
from lambdas.canary_judge import logic
from lambdas.canary_judge.agreement import Agreement, agreement
from lambdas.canary_judge.logic import Sight
from lambdas.shared.aws import aws_errors, client, environment
from lambdas.shared.observability import instrumented, logger
from lambdas.shared.pointer import read_pointer

MAX_PAGES = 50  # of at most 1 MB, many of them empty in a busy log: what fits into the function's minute


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
    shadow = event.get("shadow")
    candidate = served_log.counted_as(version, shadow=bool(shadow))
    sums = _sums(logic.queries(story.slug, champion=before.champion, candidate=candidate), since=before.since,
                 until=now)
    sight = before.after(logic.totals(sums))
    compared = _agreement(story.slug, sight, version, shadow, until=now) if shadow else None
    verdict = logic.judge(sight, story.serving.canary_test, candidate=version, agreement=compared)
    logger.info("shadow" if shadow else "canary", verdict=verdict.name, said=verdict.said)
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


def _agreement(slug: str, sight: Sight, candidate: str, shadow: Mapping[str, Any], *, until: float) -> Agreement:
    """All pairs since the first look, every time: totals need no state, and a line that comes late is counted late."""
    tolerated = float(shadow["tolerated_disagreement"])
    versions = sight.champion, candidate
    try:
        lines = list(_lines(slug, versions, int(shadow["compared_percent"]), since=sight.since, until=until))
    except aws_errors() as error:
        # The counts are evidence without it, and a shadow that can't be compared is no worse.
        logger.warning("answers could not be read", error=type(error).__name__)
        return Agreement(tolerated=tolerated, why_not="answers could not be compared: their log could not be read")
    return agreement(lines, champion=sight.champion, candidate=candidate, tolerated=tolerated)


def _lines(slug: str, versions: Iterable[str], compared_percent: int, *, since: float, until: float,
           ) -> Iterator[ServedLine]:
    """Sorted by time, so a log too large to be read whole gives its beginning, and at the next look no less of it."""
    pages = client("logs").get_paginator("filter_log_events").paginate(
        logGroupName=naming.endpoint_log_group(slug), startTime=int(since * 1000), endTime=int(until * 1000),
        filterPattern=served_log.filter_pattern(versions, compared_percent))
    for page in islice(pages, MAX_PAGES):
        for event in page["events"]:
            line = served_log.read(event["message"], compared_percent)
            if line is not None:
                yield line

"""{"story", "evaluation_uri", "champion_version"} -> {"passed", "failed", "reasons", "gates", "verdict_uri"}.

`evaluation_uri` is the folder of the evaluation or the file itself.
"""

from __future__ import annotations

import json
from typing import Any

from aws_lambda_powertools.metrics import MetricUnit

from contracts import metrics, naming, stories
from contracts.functions import JudgeEnv
from contracts.gates import lookup
from lambdas.judge.logic import answer, verdict_file, verdict_of
from lambdas.shared.aws import client, environment
from lambdas.shared.objects import parse_json_object, read_bytes, within
from lambdas.shared.observability import count, instrumented


@instrumented("judge")
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    story, s3 = stories.story(event["story"]), client("s3")
    uri = within(
        event["evaluation_uri"], environment(JudgeEnv).ARTIFACTS_BUCKET, naming.all_runs_prefix(story.slug)
    )
    if not uri.key.endswith(naming.EVALUATION_FILE):
        uri = uri.child(naming.EVALUATION_FILE)
    data = read_bytes(s3, uri)
    report = parse_json_object(data, uri)
    champion_version = str(event["champion_version"])
    verdict = verdict_of(report, story, champion_version=champion_version)
    verdict_uri = uri.parent().child(naming.VERDICT_FILE)
    whole = verdict_file(verdict, story=story.slug, champion_version=champion_version, evaluation=data)
    s3.put_object(
        Bucket=verdict_uri.bucket,
        Key=verdict_uri.key,
        ContentType="application/json",
        Body=json.dumps(whole, sort_keys=True, indent=1).encode(),
    )
    cost = lookup(report, "cost.training_usd")
    if cost is not None:
        count(metrics.TRAINING_USD, cost, unit=MetricUnit.Count, story=story.slug)
    return answer(verdict, str(verdict_uri))

"""One dashboard per deployment: what serves, how it drifts, what the last runs did."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from aws_cdk import Stack
from aws_cdk import aws_cloudwatch as cloudwatch

from constructs import Construct
from contracts import events, metrics, naming, records
from contracts.deployments import Deployment
from contracts.language import LANGUAGES
from contracts.story import StoryContract
from mlplatform.policies import token_arn

Widget = dict[str, Any]
_WIDTH, _HEIGHT = 12, 6  # two widgets a row; a row has 24 columns


class OperationsDashboard(Construct):
    def __init__(self, scope: Construct, id_: str, *, deployment: Deployment,
                 stories: Sequence[StoryContract]) -> None:
        super().__init__(scope, id_)
        region = Stack.of(self).region
        # Each machine has ends of its own; what never happens here is no line.
        outcomes = events.RETRAIN_OUTCOMES if deployment.home else events.OUTCOMES
        widgets = [w for story in stories for w in self._story(story, region, outcomes)]
        for i, widget in enumerate(widgets):
            widget |= {"x": (i % 2) * _WIDTH, "y": (i // 2) * _HEIGHT, "width": _WIDTH, "height": _HEIGHT}
        cloudwatch.CfnDashboard(self, "Default", dashboard_name=f"{naming.PROJECT}-{deployment.name}",
                                dashboard_body=json.dumps({"widgets": widgets}, separators=(",", ":")))

    def _story(self, story: StoryContract, region: str, outcomes: Sequence[str]) -> list[Widget]:
        slug = story.slug
        variant = ["EndpointName", naming.endpoint(slug), "VariantName", records.VARIANT]
        machine = ["StateMachineArn", token_arn("states", f"stateMachine:{naming.retrain_state_machine(slug)}")]
        psi = [m for m in story.monitors if m.kind != "concept"]
        return [
            _graph(f"{slug}: latency (us)", region, [
                ["AWS/SageMaker", "ModelLatency", *variant, {"stat": stat}] for stat in ("p50", "p95", "p99")]),
            _graph(f"{slug}: requests and errors", region, [
                ["AWS/SageMaker", name, *variant, {"stat": "Sum"}]
                for name in ("Invocations", "Invocation4XXErrors", "Invocation5XXErrors")]),
            _graph(f"{slug}: drift (PSI) by language", region, [
                _own(metrics.INPUT_PSI, story=slug, language=language, monitor=monitor.name)
                for monitor in psi for language in LANGUAGES]),
            _graph(f"{slug}: requests seen by the drift monitor", region, [
                _own(metrics.WINDOW_REQUESTS, story=slug, language=language, monitor=psi[0].name)
                for language in LANGUAGES]),
            _graph(f"{slug}: outcomes of runs", region, [
                _own(metrics.RETRAIN_OUTCOME, stat="Sum", story=slug, outcome=outcome)
                for outcome in outcomes]),
            _graph(f"{slug}: executions", region, [
                ["AWS/States", name, *machine, {"stat": "Sum"}]
                for name in ("ExecutionsStarted", "ExecutionsFailed", "ExecutionsTimedOut")]),
        ]


def _own(metric: str, *, stat: str = "Maximum", **dimensions: str) -> list[Any]:
    pairs = [part for pair in metrics.dimensions(metric, **dimensions).items() for part in pair]
    return [metrics.NAMESPACE, metric, *pairs, {"stat": stat}]


def _graph(title: str, region: str, lines: list[list[Any]]) -> Widget:
    return {"type": "metric", "properties": {"title": title, "region": region, "view": "timeSeries", "period": 300,
                                             "metrics": lines}}

"""Endpoints are guarded, models isolated: read from the spec and from requests, for neither is a resource."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.infrastructure.rule_cases import Body, Case, check, machine, task

_SDK = "arn:aws:states:::aws-sdk:sagemaker:"
_METRICS = {"errors": "Invocation5XXErrors", "latency": "ModelLatency", "canary-abort": "CanaryAbort"}


def _alarms(*, endpoint: str = "mangaassist-intent-classifier", without: str = "") -> dict[str, Body]:
    found: dict[str, Body] = {}
    for name, metric in _METRICS.items():
        ours = metric == "CanaryAbort"
        dimension = {"Name": "Story", "Value": "intent-classifier"} if ours else {
            "Name": "EndpointName", "Value": endpoint}
        if name != without:
            found[f"Alarm{metric}"] = {"Type": "AWS::CloudWatch::Alarm", "Properties": {
                "AlarmName": name, "MetricName": metric, "Dimensions": [dimension]}}
    return found


def _spec(alarms: Sequence[str] = tuple(_METRICS)) -> Body:
    return {"Type": "AWS::SSM::Parameter", "Properties": {
        "Name": "/mangaassist/serving-spec/intent-classifier",
        "Value": json.dumps({"story": "intent-classifier", "guardrail_alarms": list(alarms)})}}


def _request(action: str, **parameters: Any) -> Body:
    return machine(states={"Do": task(f"{_SDK}{action}", Parameters=parameters)})


def _pipeline(kind: str, **arguments: Any) -> Body:
    body = {"Steps": [{"Name": "Step", "Type": kind, "Arguments": arguments}]}
    return {"Type": "AWS::SageMaker::Pipeline", "Properties": {
        "PipelineDefinition": {"PipelineDefinitionBody": json.dumps(body)}}}


_ISOLATED = {"EnableNetworkIsolation": True}

CASES = (
    Case(rule="EndpointGuardrails",
         passes={**_alarms(), "Spec": _spec(), "Other": {"Type": "AWS::SSM::Parameter", "Properties": {
             "Name": "/mangaassist/flags/x", "Value": "true"}},
             "Machine": _request("updateEndpoint", **{"DeploymentConfig.$": "$.plan.deployment_config"})},
         breaks={
             "0 alarms, SageMaker takes 1 to 10": {"Spec": _spec([])},
             "11 alarms": {"Spec": _spec([f"alarm-{i}" for i in range(11)])},
             "'latency' is no alarm": {**_alarms(without="latency"), "Spec": _spec()},
             "none of them watches ModelLatency of intent-classifier": {
                 **_alarms(), "Spec": _spec(["errors", "canary-abort"])},
             "none of them watches Invocation5XXErrors": {**_alarms(endpoint="another"), "Spec": _spec()},
             "updates unguarded": {"Machine": _request("updateEndpoint", EndpointName="a")},
             "AutoRollbackConfiguration: no alarms": {"Endpoint": {"Type": "AWS::SageMaker::Endpoint"}},
         }),
    Case(rule="ModelNetworkIsolation",
         passes={"Machine": _request("createModel", ModelName="a", **_ISOLATED),
                 "Pipeline": _pipeline("Training", **_ISOLATED),
                 "Model": {"Type": "AWS::SageMaker::Model", "Properties": _ISOLATED}},
         breaks={
             "must be true, is not there": {"Machine": _request("createModel", ModelName="a")},
             r"must be true, is \$\.plan\.isolated": {"Machine": _request(
                 "createModel", **{"EnableNetworkIsolation.$": "$.plan.isolated"})},
             r"Steps\.Step\.Arguments": {"Pipeline": _pipeline("Training", EnableNetworkIsolation=False)},
             "Properties.EnableNetworkIsolation": {"Model": {"Type": "AWS::SageMaker::Model"}},
         }),
    Case(rule="JobNetworkIsolation",
         passes={"Machine": _request("createProcessingJob", NetworkConfig=_ISOLATED),
                 "Pipeline": _pipeline("Processing", NetworkConfig=_ISOLATED)},
         breaks={
             "is False": {"Machine": _request("createProcessingJob", NetworkConfig={"EnableNetworkIsolation": False})},
             "is not there": {"Pipeline": _pipeline("Processing")},
         }),
)


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.rule)
def test_the_rule_lets_pass_and_breaks(case: Case, tmp_path: Path) -> None:
    check(case, tmp_path)

"""A rule beside resources that it lets pass and resources that break it, each synthesised in a stack of its own."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contracts.deployments import JP, Deployment
from contracts.story import StoryContract

Body = Mapping[str, Any]  # a resource as a template holds it


@dataclass(frozen=True, kw_only=True)
class Case:
    """`breaks`: what the message must say -> the resources that earn it."""

    rule: str
    passes: Mapping[str, Body]
    breaks: Mapping[str, Mapping[str, Body]]
    deployment: Deployment = JP
    stories: Sequence[StoryContract] = ()


@dataclass(frozen=True)
class Violation:
    rule: str
    says: str
    fix: str
    path: str
    logical_id: str


def violations(folder: Path, rule: str, resources: Mapping[str, Body], *, deployment: Deployment = JP,
               stories: Sequence[StoryContract] = (), acknowledged: Sequence[Any] = ()) -> list[Violation]:
    """What one rule says of a stack that holds just these resources, from the report that CDK writes."""
    from aws_cdk import App, CfnResource, Environment, Stack, Validations
    from mlplatform.rules import RULES, RulePack

    app = App(outdir=str(folder), analytics_reporting=False, builtin_cloud_formation_validation=False)
    stack = Stack(app, "Tiny", env=Environment(region=deployment.region))
    for id_, body in resources.items():
        resource = CfnResource(stack, id_, type=body["Type"], properties=body.get("Properties", {}))
        if "DeletionPolicy" in body:
            resource.add_override("DeletionPolicy", body["DeletionPolicy"])
    chosen = [r for r in RULES if r.id == rule]
    assert len(chosen) == 1, f"{rule} is no rule of the pack"
    Validations.of(app).add_plugins(RulePack(chosen, stories=stories, acknowledged=acknowledged))
    try:
        app.synth()
    except RuntimeError as error:
        assert "ValidationFailed" in str(error), error  # noqa: PT017 - what was reported is looked at below
    reports = json.loads((folder / "validation-report.json").read_text("utf-8"))["pluginReports"]
    return [_violation(v) for report in reports for v in report["violations"]]


def _violation(reported: Mapping[str, Any]) -> Violation:
    (construct,) = reported["violatingConstructs"]
    return Violation(reported["ruleName"], reported["description"], reported["suggestedFix"],
                     construct["constructPath"], construct.get("cloudFormationResource", {}).get("logicalId", ""))


def check(case: Case, folder: Path) -> None:
    options: dict[str, Any] = {"deployment": case.deployment, "stories": case.stories}
    found = violations(folder / "passes", case.rule, case.passes, **options)
    assert not found, f"what should pass breaks {case.rule}: {found}"
    assert case.breaks
    for i, (said, resources) in enumerate(case.breaks.items()):
        found = violations(folder / f"breaks-{i}", case.rule, resources, **options)
        assert found, f"{case.rule} lets pass what should say {said!r}"
        assert any(re.search(said, v.says) for v in found), f"nothing says {said!r}: {[v.says for v in found]}"


def policy(*statements: Body) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def role(*statements: Body) -> Body:
    trust = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "lambda.amazonaws.com"}}
    return {"Type": "AWS::IAM::Role", "Properties": {
        "AssumeRolePolicyDocument": policy(trust),
        "Policies": [{"PolicyName": "Own", "PolicyDocument": policy(*statements)}]}}


def machine(name: str = "machine", *, substitutions: Mapping[str, Any] | None = None,
            states: Mapping[str, Any] | None = None, **more: Any) -> Body:
    definition = {"StartAt": next(iter(states or {}), ""), "States": dict(states or {})}
    return {"Type": "AWS::StepFunctions::StateMachine", "Properties": {
        "StateMachineName": name, "DefinitionString": json.dumps(definition),
        "DefinitionSubstitutions": dict(substitutions or {}), **more}}


def task(resource: str = "arn:aws:states:::lambda:invoke", **more: Any) -> dict[str, Any]:
    return {"Type": "Task", "Resource": resource, "Retry": [{"ErrorEquals": ["States.TaskFailed"], "BackoffRate": 2.0}],
            "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "Failed"}], "End": True, **more}


KEY: Body = {"Type": "AWS::KMS::Key", "Properties": {"KeyPolicy": {}}}
KEY_ARN = {"Fn::GetAtt": ["Key", "Arn"]}

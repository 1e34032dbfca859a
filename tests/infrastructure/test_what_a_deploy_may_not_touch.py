"""A deploy never moves a promoted model, resets a flag or replaces what holds data."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from contracts.kill_switches import GLOBAL_FREEZE
from contracts.stories import CONTRACTS
from tests.infrastructure.conftest import Assembly, context

STATEFUL_TYPES = {
    "AWS::S3::Bucket", "AWS::DynamoDB::Table", "AWS::KMS::Key", "AWS::ECR::Repository", "AWS::SSM::Parameter",
    "AWS::SageMaker::FeatureGroup", "AWS::SageMaker::ModelPackageGroup", "AWS::Glue::Database",
}
# A changed logical id is a deleted resource and a new one. Never edit a line; only add.
FROZEN_IDS = Path(__file__).parent / "stateful_logical_ids.json"
# Made by the release workflow, or closed to new customers since July 2026.
NOT_IN_TEMPLATES = {
    "AWS::SageMaker::Model", "AWS::SageMaker::EndpointConfig", "AWS::SageMaker::Endpoint",
    "AWS::ApplicationAutoScaling::ScalableTarget", "AWS::SageMaker::MonitoringSchedule",
    "AWS::SageMaker::DataQualityJobDefinition", "AWS::SageMaker::ModelQualityJobDefinition",
    "AWS::SageMaker::ModelBiasJobDefinition", "AWS::SageMaker::ModelExplainabilityJobDefinition",
}


@pytest.mark.parametrize("deployment", ["jp", "us", "eu"])
def test_logical_ids_of_stateful_resources_never_change(assembly: Assembly, deployment: str) -> None:
    frozen = json.loads(FROZEN_IDS.read_text("utf-8"))
    found = {id_: r["Type"] for id_, r in assembly.all_resources(deployment=deployment).items()
             if r["Type"] in STATEFUL_TYPES}
    assert found == frozen


def test_nothing_that_serves_and_nothing_that_is_closed_is_a_template_resource(assembly: Assembly) -> None:
    for deployment in ("jp", "us", "eu"):
        types = {r["Type"] for r in assembly.all_resources(deployment=deployment).values()}
        assert types & NOT_IN_TEMPLATES == set()


def test_flags_hold_exactly_the_four_frozen_properties(assembly: Assembly) -> None:
    flags = [GLOBAL_FREEZE, *(flag for story in CONTRACTS.values() for flag in story.flags)]
    found = {r["Properties"]["Name"]: r for r in assembly.resources("AWS::SSM::Parameter").values()}
    assert len(flags) >= 3
    for flag in flags:
        resource = found[flag.parameter]
        assert resource["Properties"] == {
            "Name": flag.parameter, "Type": "String", "Value": "true" if flag.initial else "false",
            "AllowedPattern": "^(true|false)$",
        }
        assert resource["DeletionPolicy"] == resource["UpdateReplacePolicy"] == "Retain"


def test_a_changed_tag_and_boundary_leave_flags_and_feature_groups_alone(assembly: Assembly, tmp_path: Path) -> None:
    from aws_cdk import App

    from stacks.deployment import deploy_all

    app = App(context=context(deployment="jp", tags={"cost-center": "ml"}, permission_boundary="team-boundary"),
              outdir=str(tmp_path), analytics_reporting=False)
    deploy_all(app)
    app.synth()
    changed = {id_: r for path in sorted((tmp_path / "assembly-jp").glob("*.template.json"))
               for id_, r in json.loads(path.read_text("utf-8"))["Resources"].items()}
    before = assembly.all_resources()
    untouched = {"AWS::SageMaker::FeatureGroup", "AWS::SSM::Parameter"}
    for id_, resource in before.items():
        if resource["Type"] in untouched:
            assert changed[id_] == resource, id_
    manifest = json.loads((tmp_path / "assembly-jp" / "manifest.json").read_text("utf-8"))
    stacks = [a for a in manifest["artifacts"].values() if a["type"] == "aws:cloudformation:stack"]
    assert len(stacks) == 4
    # CloudFormation hands a stack's own tags to every resource, flags included.
    assert all("tags" not in a["properties"] for a in stacks)
    tagged = [r for r in changed.values() if {"Key": "cost-center", "Value": "ml"} in _tags(r)]
    assert len(tagged) > 50
    roles = [r for r in changed.values() if r["Type"] == "AWS::IAM::Role"]
    assert roles
    assert all("team-boundary" in str(r["Properties"]["PermissionsBoundary"]) for r in roles)


def _tags(resource: dict) -> list:  # type: ignore[type-arg]
    tags = resource["Properties"].get("Tags", [])
    return tags if isinstance(tags, list) else []


@pytest.mark.parametrize(("destroy", "policy"), [("false", "Retain"), ("true", "Delete")])
def test_data_goes_only_when_the_app_says_destroy_and_keys_and_audit_never(
        tmp_path: Path, destroy: str, policy: str) -> None:
    from aws_cdk import App, Stack
    from aws_cdk.assertions import Template

    from contracts.deployments import JP
    from stacks.data import DataStack

    app = App(context=context(destroy=destroy), outdir=str(tmp_path))
    stack: Stack = DataStack(app, "Data", deployment=JP)
    resources = Template.from_stack(stack).to_json()["Resources"]
    policies = {id_: r["DeletionPolicy"] for id_, r in resources.items() if "DeletionPolicy" in r}
    kept = {id_ for id_ in policies if id_.startswith(("SigningKey", "Audit", "Labels"))}
    assert len(kept) == 3
    assert {policies[id_] for id_ in kept} == {"Retain"}
    assert {policies[id_] for id_ in policies.keys() - kept} == {policy}

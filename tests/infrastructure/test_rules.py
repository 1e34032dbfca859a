"""Rule packs, and rules of our own where the packs are thin."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from contracts.deployments import DEPLOYMENTS, Deployment
from contracts.stories import CONTRACTS
from stacks.acknowledgements import acknowledged
from stacks.nist_acknowledgements import NIST_ACKNOWLEDGEMENTS
from stacks.rule_acknowledgements import RULE_ACKNOWLEDGEMENTS
from tests.infrastructure.conftest import Assembly

PROTECTED_ROOMS = {"data", "platform", "intent-classifier"}
# Actions that AWS gives no resource to act on; anything else with "*" is a grant too wide.
NO_RESOURCE = (
    "xray:", "logs:CreateLogDelivery", "logs:GetLogDelivery", "logs:UpdateLogDelivery", "logs:DeleteLogDelivery",
    "logs:ListLogDeliveries", "logs:PutResourcePolicy", "logs:DescribeResourcePolicies", "logs:DescribeLogGroups",
    "ecr:GetAuthorizationToken", "ec2:Describe", "cloudwatch:PutMetricData", "cloudwatch:GetMetricData",
)


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda d: d.name)
def test_aws_solutions_findings_are_exactly_the_acknowledged_ones(assembly: Assembly, deployment: Deployment) -> None:
    rows = acknowledged(deployment, list(CONTRACTS.values()))
    expected = {(row.finding, f"{deployment.name}/{path}") for row in rows for path in row.at}
    found = {(rule, f"{deployment.name}/{path}") for rule, path in _of_pack("AwsSolutions-", assembly, deployment)}
    assert found - expected == set(), "new findings: mend them, or acknowledge each with its reason"
    assert expected - found == set(), "stale acknowledgements: remove them"


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda d: d.name)
def test_nist_800_53_findings_and_acknowledgements_cover_each_other(
        assembly: Assembly, deployment: Deployment) -> None:
    found = _of_pack("NIST.800.53.R5-", assembly, deployment)
    assert found
    new = {f for f in found if not any(row.covers(*f) for row in NIST_ACKNOWLEDGEMENTS)}
    assert new == set(), "new findings: mend them, or acknowledge each with its reason"


def test_no_acknowledgement_of_a_nist_800_53_finding_is_stale_in_every_deployment(assembly: Assembly) -> None:
    found = {f for deployment in DEPLOYMENTS for f in _of_pack("NIST.800.53.R5-", assembly, deployment)}
    stale = [(row.finding, pattern) for row in NIST_ACKNOWLEDGEMENTS for pattern in row.at
             if not any(replace(row, at=(pattern,)).covers(*f) for f in found)]
    assert stale == [], "stale acknowledgements: remove them"


def _of_pack(prefix: str, assembly: Assembly, deployment: Deployment) -> set[tuple[str, str]]:
    """(finding, path below the stage) of one pack in one deployment."""
    stage = f"{deployment.name}/"
    return {(rule, path.removeprefix(stage)) for rule, path in assembly.findings
            if rule.startswith(prefix) and path.startswith(stage)}


def test_no_finding_comes_from_a_pack_whose_findings_nobody_judges(assembly: Assembly) -> None:
    assert {rule.split("-")[0] for rule, _ in assembly.findings} == {"AwsSolutions", "NIST.800.53.R5"}


def test_every_acknowledgement_gives_a_reason() -> None:
    rows = acknowledged(DEPLOYMENTS[0], list(CONTRACTS.values()))
    for table in (rows, NIST_ACKNOWLEDGEMENTS, RULE_ACKNOWLEDGEMENTS):
        assert table
        assert all(len(row.because.split()) >= 5 for row in table)


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda d: d.name)
def test_cfn_lint_is_content_in_the_region_of_each_deployment(assembly: Assembly, deployment: Deployment) -> None:
    files = [str(path) for (name, _), path in assembly.files.items() if name == deployment.name]
    assert len(files) == 4
    lint = Path(sys.executable).parent / "cfn-lint"
    command = [str(lint), "-r", deployment.region, "--", *files]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout


def _statements(role: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for policy in role["Properties"].get("Policies", []):
        found += policy["PolicyDocument"]["Statement"]
    return found


def test_a_star_resource_is_granted_only_where_aws_knows_no_resource(assembly: Assembly) -> None:
    for id_, role in assembly.resources("AWS::IAM::Role").items():
        for statement in _statements(role):
            resources, actions = statement["Resource"], statement["Action"]
            actions = [actions] if isinstance(actions, str) else actions
            assert not any(a == "*" or a.endswith(":*") for a in actions), f"{id_}: {actions}"
            if "*" in resources:
                assert all(a.startswith(NO_RESOURCE) for a in actions), f"{id_}: {actions} on *"


def test_every_role_has_its_policy_inline_so_that_no_job_starts_before_it(assembly: Assembly) -> None:
    assert "AWS::IAM::Policy" not in {r["Type"] for r in assembly.all_resources().values()}


def test_putting_metrics_is_limited_to_a_namespace(assembly: Assembly) -> None:
    seen = 0
    for id_, role in assembly.resources("AWS::IAM::Role").items():
        for statement in _statements(role):
            if "cloudwatch:PutMetricData" in statement["Action"]:
                seen += 1
                assert "cloudwatch:namespace" in str(statement.get("Condition")), id_
    assert seen


def test_stacks_that_hold_state_are_protected_from_termination(assembly: Assembly) -> None:
    assert {key for key, on in assembly.protected.items() if on} == \
        {key for key in assembly.protected if key[1] in PROTECTED_ROOMS}


def test_log_groups_expire_and_are_encrypted(assembly: Assembly) -> None:
    for id_, group in assembly.resources("AWS::Logs::LogGroup").items():
        assert group["Properties"]["RetentionInDays"] > 0, id_
        assert group["Properties"]["KmsKeyId"], id_


def test_buckets_are_private_versioned_encrypted_and_logged(assembly: Assembly) -> None:
    buckets = assembly.resources("AWS::S3::Bucket")
    assert len(buckets) == 4
    for id_, bucket in buckets.items():
        p = bucket["Properties"]
        assert set(p["PublicAccessBlockConfiguration"].values()) == {True}, id_
        assert p["VersioningConfiguration"]["Status"] == "Enabled", id_
        assert p["LifecycleConfiguration"]["Rules"], id_
        assert bucket["DeletionPolicy"] == bucket["UpdateReplacePolicy"] == "Retain", id_
        is_log_target = "LoggingConfiguration" not in p
        encryption = p["BucketEncryption"]["ServerSideEncryptionConfiguration"][0]["ServerSideEncryptionByDefault"]
        assert encryption["SSEAlgorithm"] == ("AES256" if is_log_target else "aws:kms"), id_
    assert sum("LoggingConfiguration" not in b["Properties"] for b in buckets.values()) == 1
    policies = assembly.resources("AWS::S3::BucketPolicy")
    assert len(policies) == 4
    for policy in policies.values():
        assert "aws:SecureTransport" in str(policy["Properties"]["PolicyDocument"])


def test_tables_are_protected_and_the_audit_table_can_only_grow(assembly: Assembly) -> None:
    tables = {t["Properties"]["TableName"]: t for t in assembly.resources("AWS::DynamoDB::Table").values()}
    assert set(tables) == {"mangaassist-control-jp", "mangaassist-audit-jp"}
    for table in tables.values():
        p = table["Properties"]
        assert p["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"] is True
        assert p["DeletionProtectionEnabled"] is True
        assert p["SSESpecification"]["SSEType"] == "KMS"
        assert table["DeletionPolicy"] == "Retain"
    deny = tables["mangaassist-audit-jp"]["Properties"]["ResourcePolicy"]["PolicyDocument"]["Statement"][0]
    assert deny["Effect"] == "Deny"
    assert {"dynamodb:UpdateItem", "dynamodb:DeleteItem"} <= set(deny["Action"])


def test_no_role_may_rewrite_an_audit_record(assembly: Assembly) -> None:
    writers = 0
    for id_, role in assembly.resources("AWS::IAM::Role").items():
        for statement in _statements(role):
            if "GetAttAudit" in str(statement["Resource"]):  # the table, by the data stack's export
                writers += statement["Action"] == ["dynamodb:PutItem"]
                assert statement["Action"] in (["dynamodb:PutItem"], ["dynamodb:Query"]), id_
    assert writers == 2  # the audit function and promote


def test_the_network_has_no_way_out(assembly: Assembly) -> None:
    types = {r["Type"] for r in assembly.all_resources().values()}
    assert "AWS::EC2::Subnet" in types
    assert not types & {"AWS::EC2::NatGateway", "AWS::EC2::InternetGateway", "AWS::EC2::EIP"}
    assert all(not s["Properties"]["MapPublicIpOnLaunch"] for s in assembly.resources("AWS::EC2::Subnet").values())
    flow = assembly.resources("AWS::EC2::FlowLog")
    assert [f["Properties"]["TrafficType"] for f in flow.values()] == ["ALL"]

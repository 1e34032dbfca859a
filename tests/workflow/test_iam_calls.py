"""Would AWS allow what a deployment and a promotion do, and would this check see it if it did not?

Every other recorded call is judged when the deployment of a test session ends: see `empty_jp`.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.support import iam_check, iam_grants, iam_policies
from tests.support.deployment import Deployed
from tests.support.iam_check import Answer, Call
from tests.support.iam_policies import Document, Policies, Role

pytestmark = pytest.mark.workflow


@pytest.fixture(scope="module")
def policies(promoted: Deployed) -> Policies:
    return iam_check.policies_of(promoted)


@pytest.fixture(scope="module")
def recorded(promoted: Deployed, policies: Policies) -> list[Call]:
    found = iam_check.record_of(promoted, policies)
    # a run takes leases, trains, publishes and releases: a record without them was not written
    assert {"sagemaker:CreateTrainingJob", "s3:GetObject", "kms:Sign", "sagemaker:CreateEndpoint", "iam:PassRole",
            "states:StartExecution", "lambda:InvokeFunction"} <= {call.action for call in found}
    return found


@pytest.fixture(scope="module")
def answers(recorded: list[Call], policies: Policies) -> list[Answer]:
    calls = [*recorded, *iam_check.implied_calls(policies), *iam_check.assumed(policies)]
    return iam_check.simulate(calls, policies)


def test_aws_would_allow_every_recorded_and_every_implied_call(answers: list[Answer]) -> None:
    assert [f"{answer.result}: {answer.call}" for answer in answers if not answer.allowed] == []


def test_no_condition_of_a_policy_goes_unread(answers: list[Answer], policies: Policies) -> None:
    assert iam_check.unseen_conditions(answers, policies) == []


def without(role: Role, action: str) -> Role:
    """The role without the statements that allow the action."""
    def kept(document: Document) -> Document:
        statements = [s for s in document["Statement"] if action not in iam_policies.as_list(s["Action"])]
        return {**document, "Statement": statements}

    return replace(role, policies={name: kept(document) for name, document in role.policies.items()})


@pytest.mark.parametrize(("role_id", "action"), [
    ("TrainingTrainRole", "s3:GetObject"), ("RetrainMachineRole", "iam:PassRole"),
    ("FunctionsRoomPublishRole", "kms:Sign"), ("FunctionsRoomPublishRole", "kms:GenerateDataKey"),
])
def test_a_statement_that_is_taken_away_is_a_denied_call(
    recorded: list[Call], policies: Policies, role_id: str, action: str
) -> None:
    role = next(role for role in policies.roles.values() if role.id == role_id)
    calls = [call for call in recorded if call.principal == role.arn and call.action == action]
    assert calls
    fewer = replace(policies, roles={**policies.roles, role.arn: without(role, action)})
    assert {answer.result for answer in iam_check.simulate(calls, fewer)} == {"ImplicitlyDenied"}


def test_a_deny_of_a_bucket_and_a_key_without_its_owner_count(recorded: list[Call], policies: Policies) -> None:
    reads = [call for call in recorded if call.action == "s3:GetObject" and policies.of_resource(call.resource)][:1]
    plain = [replace(call, context={**call.context, "aws:securetransport": "false"}) for call in reads]
    assert [a.result for a in iam_check.simulate(plain, policies)] == ["ExplicitlyDenied"]
    opened = [call for call in recorded if call.action == "kms:Decrypt" and call.principal in policies.roles][:1]
    key = str(policies.of_resource(opened[0].resource))
    nobody = {**policies.resources[key], "Statement": policies.resources[key]["Statement"][1:]}
    ownerless = replace(policies, resources={**policies.resources, key: nobody})
    assert [a.result for a in iam_check.simulate(opened, ownerless)] == ["ImplicitlyDenied"]


def test_a_role_is_not_for_another_service(policies: Policies) -> None:
    taken = [replace(call, principal="ec2.amazonaws.com") for call in iam_check.assumed(policies)[:1]]
    assert [a.result for a in iam_check.simulate(taken, policies)] == ["ImplicitlyDenied"]


def test_a_grant_that_nobody_uses_is_listed(answers: list[Answer], policies: Policies) -> None:
    role = next(role for role in policies.roles.values() if role.id == "FunctionsRoomLeaseRole")
    used = next(answer.call.action for answer in answers if answer.call.principal == role.arn)
    assert used.startswith("dynamodb:")
    extra = {"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": [used, "dynamodb:DeleteTable"], "Resource": "*"}]}
    wider = replace(policies, roles={**policies.roles, role.arn: replace(
        role, policies={**role.policies, "Extra": extra})})
    more = set(iam_grants.unused(wider, answers)) - set(iam_grants.unused(policies, answers))
    assert {grant.action for grant in more} == {"dynamodb:DeleteTable"}

"""Residency: nobody outside the account, and no resource of every region, in any policy."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from mlplatform.rules.regions import RESIDENCY
from mlplatform.rules.rule import Finding, rule
from mlplatform.rules.signed_copies import listed
from mlplatform.rules.templates import Deployed, Resource, dig

# Type -> where its policies are. A role's own ones are a list.
_POLICIES = {
    "AWS::IAM::Policy": "PolicyDocument", "AWS::IAM::ManagedPolicy": "PolicyDocument",
    "AWS::IAM::Role": "AssumeRolePolicyDocument", "AWS::S3::BucketPolicy": "PolicyDocument",
    "AWS::SQS::QueuePolicy": "PolicyDocument", "AWS::SNS::TopicPolicy": "PolicyDocument",
    "AWS::KMS::Key": "KeyPolicy", "AWS::DynamoDB::Table": "ResourcePolicy.PolicyDocument",
    "AWS::ECR::Repository": "RepositoryPolicyText", "AWS::SecretsManager::ResourcePolicy": "ResourcePolicy",
    "AWS::Events::EventBusPolicy": "Statement", "AWS::SageMaker::ModelPackageGroup": "ModelPackageGroupPolicy",
}
# Conditions that keep "everybody" within an account, an organisation or one resource.
_LIMITS = ("aws:SourceAccount", "aws:SourceArn", "aws:SourceOwner", "aws:PrincipalAccount", "aws:PrincipalArn",
           "aws:PrincipalOrgID", "kms:CallerAccount")
_OWN_ACCOUNT = re.compile(r"<account>|arn:aws:iam::<account>:.*|<[^<>]+>")


@rule("ResidencyGrants", concern=RESIDENCY,
      why="a grant to another account, to everybody or on every region's resources is a way out that no path shows",
      mend="grant to a role or service of this account, on ARNs of this region (policies.arn fills it in)")
def grants(deployed: Deployed) -> Iterator[Finding]:
    for resource, where, statement in _statements(deployed):
        if statement.get("Effect") != "Allow":
            continue
        if "NotPrincipal" in statement:
            yield Finding(on=resource, where=f"{where}.NotPrincipal", what="grants to everybody else")
        limited = any(key in str(statement.get("Condition", "")) for key in _LIMITS)
        for principal in _strangers(resource, statement.get("Principal", {})):
            if principal != "*" or not limited:
                yield Finding(on=resource, where=f"{where}.Principal", what=f"grants to {principal}")
        for target in listed(statement.get("Resource", [])):
            arn = resource.stack.text(target)
            if _every_region(arn):
                yield Finding(on=resource, where=f"{where}.Resource", what=f"{arn} reaches into every region")
    for permission in deployed.of_type("AWS::Lambda::Permission"):
        principal = permission.text("Principal")
        if not principal.endswith(".amazonaws.com") and not _OWN_ACCOUNT.fullmatch(principal):
            yield Finding(on=permission, where="Properties.Principal", what=f"grants to {principal}")


def _statements(deployed: Deployed) -> Iterator[tuple[Resource, str, Mapping[str, Any]]]:
    for type_, where in _POLICIES.items():
        for resource in deployed.of_type(type_):
            places = [where]
            if type_ == "AWS::IAM::Role":
                places += [f"Policies.{i}.PolicyDocument" for i in range(len(resource.get("Policies") or []))]
            for place in places:
                document = resource.get(place) or {}
                for i, statement in enumerate(listed(dig(document, "Statement") or [])):
                    yield resource, f"Properties.{place}.Statement.{i}", statement


def _strangers(resource: Resource, principal: Any) -> Iterator[str]:
    if isinstance(principal, str):
        yield principal
        return
    for kind, named in principal.items():
        for name in (resource.stack.text(n) for n in listed(named)):
            if kind != "Service" and not (kind == "AWS" and _OWN_ACCOUNT.fullmatch(name)):
                yield name


def _every_region(arn: str) -> bool:
    parts = arn.split(":", 5)
    if len(parts) < 6:
        return False
    _, _, service, region, account, named = parts
    return region == "*" or (service == "s3" and "*" in named.split("/")[0]) or account == "*"

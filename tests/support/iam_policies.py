"""Every policy of a deployment as AWS holds it: of roles, buckets, keys, queues, topics, functions and tables."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from botocore.exceptions import ClientError

Document = dict[str, Any]
NO_POLICY = {"NoSuchBucketPolicy", "ResourceNotFoundException", "PolicyNotFoundException"}


class Aws(Protocol):
    def client(self, service: str) -> Any: ...


@dataclass(frozen=True, kw_only=True)
class Role:
    """`id` is the logical id without its hash: TrainingTrainRole."""

    id: str
    stack: str
    arn: str
    trust: Document
    policies: dict[str, Document]
    boundary: Document | None = None

    @property
    def service(self) -> str:
        """The service that assumes it."""
        return str(self.trust["Statement"][0]["Principal"]["Service"])


@dataclass(frozen=True, kw_only=True)
class Policies:
    account: str
    region: str
    roles: dict[str, Role]  # by ARN
    resources: dict[str, Document]  # by the ARN of what carries it
    arns: dict[str, str] = field(default_factory=dict)  # logical id without its hash -> ARN

    def of_resource(self, arn: str) -> str | None:
        """The ARN under which the policy of a resource is kept: a bucket's for an object."""
        service = arn.split(":")[2] if arn.startswith("arn:") else ""
        if service == "lambda":
            arn = ":".join(arn.split(":")[:7])
        if service == "s3":
            arn = arn.split("/")[0]
        return arn if arn in self.resources else None

    def beside(self, role: Role) -> dict[str, str]:
        """What stands in the same construct: the logs, dead letters and undelivered events of a function or rule."""
        room = role.id.removesuffix("Role")
        return {kind: self.arns[room + kind] for kind in ("Logs", "DeadLetters", "Undelivered")
                if room + kind in self.arns}


def read(aws: Aws, assembly: Path, *, account: str, region: str) -> Policies:
    """What is deployed. A role whose policies are not the template's own, statement for statement, is an error."""
    roles: dict[str, Role] = {}
    resources: dict[str, Document] = {}
    arns: dict[str, str] = {}
    for stack, template in templates(assembly):
        physical = {r["LogicalResourceId"]: r["PhysicalResourceId"] for page in aws.client("cloudformation")
                    .get_paginator("list_stack_resources").paginate(StackName=stack)
                    for r in page["StackResourceSummaries"]}
        for logical_id, resource in template["Resources"].items():
            kind = resource["Type"]
            if kind == "AWS::IAM::Role":
                role = _role(aws, stack, logical_id, physical[logical_id])
                _same_shape(role, resource["Properties"])
                roles[role.arn] = role
            elif kind in _READERS:
                arn, document = _READERS[kind](aws, physical[logical_id], account, region)
                arns[logical_id[:-8]] = arn
                if document:
                    resources[arn] = document
    return Policies(account=account, region=region, roles=roles, resources=resources, arns=arns)


def templates(assembly: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """(stack name, template), nested assemblies included."""
    for manifest in sorted(assembly.rglob("manifest.json")):
        for artifact in json.loads(manifest.read_text("utf-8")).get("artifacts", {}).values():
            if artifact["type"] == "aws:cloudformation:stack":
                properties = artifact["properties"]
                yield properties["stackName"], json.loads((manifest.parent / properties["templateFile"]).read_text())


def _role(aws: Aws, stack: str, logical_id: str, name: str) -> Role:
    client = aws.client("iam")
    found = client.get_role(RoleName=name)["Role"]
    policies = {policy: client.get_role_policy(RoleName=name, PolicyName=policy)["PolicyDocument"]
                for policy in client.list_role_policies(RoleName=name)["PolicyNames"]}
    attached = [p["PolicyArn"] for p in client.list_attached_role_policies(RoleName=name)["AttachedPolicies"]]
    policies.update({arn: _managed(client, arn) for arn in attached})
    boundary = found.get("PermissionsBoundary", {}).get("PermissionsBoundaryArn")
    return Role(id=logical_id[:-8], stack=stack, arn=found["Arn"], trust=_document(found["AssumeRolePolicyDocument"]),
                policies={key: _document(value) for key, value in policies.items()},
                boundary=_managed(client, boundary) if boundary else None)


def _managed(client: Any, arn: str) -> Document:
    version = client.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
    return _document(client.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"])


def _same_shape(role: Role, properties: dict[str, Any]) -> None:
    written = [_shape(s) for policy in properties.get("Policies", []) for s in policy["PolicyDocument"]["Statement"]]
    deployed = [_shape(s) for document in role.policies.values() for s in document["Statement"]]
    if written != deployed:
        raise AssertionError(f"{role.arn} has other statements than its template: {deployed} instead of {written}")


def _shape(statement: Document) -> tuple[Any, ...]:
    conditions = {operator: sorted(keys) for operator, keys in statement.get("Condition", {}).items()}
    return (statement["Effect"], as_list(statement["Action"]), len(as_list(statement["Resource"])), conditions)


def _bucket(aws: Aws, name: str, account: str, region: str) -> tuple[str, Document | None]:
    return f"arn:aws:s3:::{name}", _found(lambda: aws.client("s3").get_bucket_policy(Bucket=name)["Policy"])


def _key(aws: Aws, name: str, account: str, region: str) -> tuple[str, Document | None]:
    return (f"arn:aws:kms:{region}:{account}:key/{name}",
            _found(lambda: aws.client("kms").get_key_policy(KeyId=name, PolicyName="default")["Policy"]))


def _queue(aws: Aws, url: str, account: str, region: str) -> tuple[str, Document | None]:
    found = aws.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    return found["QueueArn"], _document(found["Policy"]) if found.get("Policy") else None


def _topic(aws: Aws, arn: str, account: str, region: str) -> tuple[str, Document | None]:
    return arn, _document(aws.client("sns").get_topic_attributes(TopicArn=arn)["Attributes"]["Policy"])


def _function(aws: Aws, name: str, account: str, region: str) -> tuple[str, Document | None]:
    return (f"arn:aws:lambda:{region}:{account}:function:{name}",
            _found(lambda: aws.client("lambda").get_policy(FunctionName=name)["Policy"]))


def _log_group(aws: Aws, name: str, account: str, region: str) -> tuple[str, Document | None]:
    return f"arn:aws:logs:{region}:{account}:log-group:{name}", None


def _machine(aws: Aws, arn: str, account: str, region: str) -> tuple[str, Document | None]:
    return arn, None


_READERS = {"AWS::S3::Bucket": _bucket, "AWS::KMS::Key": _key, "AWS::SQS::Queue": _queue, "AWS::SNS::Topic": _topic,
            "AWS::Lambda::Function": _function, "AWS::Logs::LogGroup": _log_group,
            "AWS::StepFunctions::StateMachine": _machine}


def _found(ask: Any) -> Document | None:
    try:
        return _document(ask())
    except ClientError as error:
        if error.response["Error"]["Code"] in NO_POLICY:
            return None
        raise


def _document(value: Any) -> Document:
    return dict(json.loads(value)) if isinstance(value, str) else dict(value)


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]

"""IAM statements and roles: every grant is written where it is needed, and nowhere else.

A role carries its policy inline, not as a separate resource: SageMaker uses a role the moment it
exists, and a policy that is attached a second later makes the first job fail at random.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aws_cdk import ArnFormat, Stack
from aws_cdk import aws_iam as iam
from constructs import Construct

Statement = dict[str, Any]


def allow(*actions: str, on: str | Sequence[str], when: Mapping[str, Any] | None = None) -> Statement:
    """One Allow statement. `on` is never "*" without a comment that says why."""
    statement: Statement = {
        "Effect": "Allow", "Action": list(actions), "Resource": [on] if isinstance(on, str) else list(on),
    }
    if when:
        statement["Condition"] = dict(when)
    return statement


def arn(scope: Construct, service: str, resource: str, name: str, *, colon: bool = False) -> str:
    """An ARN in the scope's own account and region."""
    form = ArnFormat.COLON_RESOURCE_NAME if colon else ArnFormat.SLASH_RESOURCE_NAME
    return Stack.of(scope).format_arn(service=service, resource=resource, resource_name=name, arn_format=form)


def pass_role(role_arns: Sequence[str], *, to: str) -> Statement:
    return allow("iam:PassRole", on=role_arns, when={"StringEquals": {"iam:PassedToService": to}})


def use_key(key_arn: str) -> Statement:
    """Read and write what is encrypted under a key."""
    return allow("kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey", "kms:DescribeKey", on=key_arn)


def read_prefixes(bucket_arn: str, *prefixes: str) -> list[Statement]:
    """Get and list exactly these prefixes of a bucket."""
    return [
        allow("s3:GetObject", on=[f"{bucket_arn}/{p}*" for p in prefixes]),
        allow("s3:ListBucket", on=bucket_arn, when={"StringLike": {"s3:prefix": [f"{p}*" for p in prefixes]}}),
    ]


def write_prefixes(bucket_arn: str, *prefixes: str) -> Statement:
    return allow("s3:PutObject", "s3:AbortMultipartUpload", on=[f"{bucket_arn}/{p}*" for p in prefixes])


def put_metrics(namespace: str) -> Statement:
    # PutMetricData has no resource; the namespace is what limits it.
    return allow("cloudwatch:PutMetricData", on="*", when={"StringEquals": {"cloudwatch:namespace": namespace}})


def service_role(scope: Construct, id_: str, *, service: str, description: str,
                 statements: Sequence[Statement]) -> iam.Role:
    document = iam.PolicyDocument.from_json({"Version": "2012-10-17", "Statement": list(statements)})
    return iam.Role(scope, id_, assumed_by=iam.ServicePrincipal(service), description=description,
                    inline_policies={"Own": document})

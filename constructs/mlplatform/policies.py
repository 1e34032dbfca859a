"""IAM statements and roles: every grant is written where it is needed, and nowhere else.

A role carries its policy inline, not as a separate resource: SageMaker uses a role the moment it
exists, and a policy that is attached a second later makes the first job fail at random.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from aws_cdk import Aws
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms

from constructs import Construct

Statement = dict[str, Any]


def allow(*actions: str, on: str | Sequence[str], when: Mapping[str, Any] | None = None) -> Statement:
    """One Allow statement. `on` is never "*" without a comment that says why."""
    resources = [on] if isinstance(on, str) else on
    statement: Statement = {"Effect": "Allow", "Action": list(actions),
                            "Resource": [{"Fn::Sub": r} if _PSEUDO in r else r for r in resources]}
    if when:
        statement["Condition"] = dict(when)
    return statement


# Read once: every look at a CDK constant is a call into its Node process.
PARTITION, REGION, ACCOUNT = Aws.PARTITION, Aws.REGION, Aws.ACCOUNT_ID
_PSEUDO = "${AWS::"


def arn(service: str, resource: str) -> str:
    """An ARN in the stack's own account and region, for `allow` only: CloudFormation fills in the rest.

    One line of the template each, and no work for CDK, which takes tokens apart and puts them together again.
    `resource` is plain text; an ARN that holds a token, or stands outside a statement, is a `token_arn`.
    """
    if "${Token" in resource:
        raise ValueError(f"{resource!r} holds a CDK token: use token_arn")
    return f"arn:{_PSEUDO}Partition}}:{service}:{_PSEUDO}Region}}:{_PSEUDO}AccountId}}:{resource}"


def token_arn(service: str, resource: str) -> str:
    """The same as text of CDK tokens, for any property."""
    return f"arn:{PARTITION}:{service}:{REGION}:{ACCOUNT}:{resource}"


_KEY_ARNS: WeakKeyDictionary[kms.IKey, str] = WeakKeyDictionary()


def arn_of(key: kms.IKey) -> str:
    """A key's ARN as a token, which dozens of resources ask for: read once, too."""
    if key not in _KEY_ARNS:
        _KEY_ARNS[key] = key.key_arn
    return _KEY_ARNS[key]


def pass_role(role_arns: Sequence[str], *, to: str) -> Statement:
    return allow("iam:PassRole", on=role_arns, when={"StringEquals": {"iam:PassedToService": to}})


def use_key(key_arn: str) -> Statement:
    """Read and write what is encrypted under a key."""
    return allow("kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey", "kms:DescribeKey", on=key_arn)


def open_with_key(key_arn: str) -> Statement:
    """Read what is encrypted under a key."""
    return allow("kms:Decrypt", on=key_arn)


def hand_key_to_aws(key_arn: str) -> Statement:
    """For services that encrypt a volume: EBS uses the key by a grant, which only AWS services may be given."""
    return allow("kms:CreateGrant", on=key_arn, when={"Bool": {"kms:GrantIsForAWSResource": "true"}})


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


@dataclass(frozen=True)
class ServiceRole:
    resource: iam.CfnRole
    role_arn: str


def document(*statements: Statement) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def service_role(scope: Construct, id_: str, *, service: str, description: str,
                 statements: Sequence[Statement]) -> ServiceRole:
    trust: Statement = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": service}}
    role = iam.CfnRole(
        scope, id_, description=description, assume_role_policy_document=document(trust),
        policies=[iam.CfnRole.PolicyProperty(policy_name="Own", policy_document=document(*statements))],
    )
    return ServiceRole(role, role.attr_arn)

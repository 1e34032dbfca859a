"""The two keys of a deployment: one encrypts everything, one signs published models."""

from __future__ import annotations

from aws_cdk import RemovalPolicy
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms

from constructs import Construct
from mlplatform.policies import ACCOUNT, PARTITION, REGION
from mlplatform.retention import removal_policy


class DataKey(Construct):
    """Symmetric, rotating. Log groups and alarm notifications need the service itself in the key policy."""

    def __init__(self, scope: Construct, id_: str, *, alias: str, destroyable: bool = False) -> None:
        super().__init__(scope, id_)
        self.key = kms.Key(
            self, "Default", alias=f"alias/{alias}", enable_key_rotation=True,
            description="Encrypts what the ML platform stores: buckets, tables, logs, queues, volumes",
            removal_policy=removal_policy(self, destroyable=destroyable),
        )
        self.key.add_to_resource_policy(iam.PolicyStatement(
            principals=[iam.ServicePrincipal(f"logs.{REGION}.amazonaws.com")],
            actions=["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey"],
            resources=["*"],  # in a key policy "*" is this key
            conditions={"ArnLike": {
                "kms:EncryptionContext:aws:logs:arn": f"arn:{PARTITION}:logs:{REGION}:{ACCOUNT}:*"}},
        ))
        self.key.add_to_resource_policy(iam.PolicyStatement(
            # Alarms publish to the encrypted on-call topic as CloudWatch, not as a role of ours.
            principals=[iam.ServicePrincipal("cloudwatch.amazonaws.com")],
            actions=["kms:Decrypt", "kms:GenerateDataKey*"], resources=["*"],
            conditions={"StringEquals": {"aws:SourceAccount": ACCOUNT}},
        ))


class SigningKey(Construct):
    """ECC_NIST_P256: signs the digest of a model's manifest. Never destroyed: old signatures must stay verifiable."""

    def __init__(self, scope: Construct, id_: str, *, alias: str) -> None:
        super().__init__(scope, id_)
        self.key = kms.Key(
            self, "Default", alias=f"alias/{alias}", key_spec=kms.KeySpec.ECC_NIST_P256,
            key_usage=kms.KeyUsage.SIGN_VERIFY, description="Signs the manifests of published models",
            removal_policy=RemovalPolicy.RETAIN,
        )

"""The four buckets of a deployment: encrypted, TLS only, versioned, never public, with access logs."""

from __future__ import annotations

from typing import Any

from aws_cdk import Duration
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3

from constructs import Construct
from contracts import naming
from mlplatform.policies import ACCOUNT
from mlplatform.retention import removal_policy

_COMMON: dict[str, Any] = {
    "block_public_access": s3.BlockPublicAccess.BLOCK_ALL,
    "enforce_ssl": True,
    "minimum_tls_version": 1.2,
    "versioned": True,
    "object_ownership": s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
}


class Buckets(Construct):
    """`lake` holds labels and data sets, `artifacts` runs and models, `capture` what was served."""

    def __init__(self, scope: Construct, id_: str, *, deployment: str, key: kms.IKey,
                 destroyable: bool = False) -> None:
        super().__init__(scope, id_)
        self._deployment, self._key = deployment, key
        self._removal = removal_policy(self, destroyable=destroyable)
        # Log delivery can't use a customer key: S3 accepts SSE-S3 only on a target of access logs.
        self.access_logs = s3.Bucket(
            self, "AccessLogs", bucket_name=naming.bucket(naming.ACCESS_LOGS, deployment, ACCOUNT),
            encryption=s3.BucketEncryption.S3_MANAGED, removal_policy=self._removal,
            lifecycle_rules=[s3.LifecycleRule(expiration=Duration.days(365),
                                              noncurrent_version_expiration=Duration.days(30))],
            **_COMMON,
        )
        old_versions = s3.LifecycleRule(
            noncurrent_version_expiration=Duration.days(90), abort_incomplete_multipart_upload_after=Duration.days(7))
        # Runs that were not published are evidence for a year; models and labels stay.
        runs = s3.LifecycleRule(prefix="runs/", expiration=Duration.days(365))
        captures = s3.LifecycleRule(expiration=Duration.days(180))
        self.lake = self._bucket("Lake", naming.LAKE, [old_versions])
        # By the property itself: CDK's own switch adds a function that may change every bucket's notifications.
        lake = self.lake.node.default_child
        assert isinstance(lake, s3.CfnBucket)
        lake.notification_configuration = s3.CfnBucket.NotificationConfigurationProperty(
            event_bridge_configuration=s3.CfnBucket.EventBridgeConfigurationProperty(event_bridge_enabled=True))
        self.artifacts = self._bucket("Artifacts", naming.ARTIFACTS, [old_versions, runs])
        self.capture = self._bucket("Capture", naming.CAPTURE, [old_versions, captures])

    def _bucket(self, id_: str, purpose: str, rules: list[s3.LifecycleRule]) -> s3.Bucket:
        return s3.Bucket(
            self, id_, bucket_name=naming.bucket(purpose, self._deployment, ACCOUNT),
            encryption=s3.BucketEncryption.KMS, encryption_key=self._key, bucket_key_enabled=True,
            server_access_logs_bucket=self.access_logs, server_access_logs_prefix=f"{purpose}/",
            lifecycle_rules=rules, removal_policy=self._removal, **_COMMON,
        )

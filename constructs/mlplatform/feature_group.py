"""A SageMaker feature group, online and offline (Iceberg).

Tags, description, role and offline store are create-only under a fixed name, so a changed tag would
demand a replacement that can't happen: the type is left out of app-wide tags and holds no prose.
"""

from __future__ import annotations

from aws_cdk import RemovalPolicy
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sagemaker as sagemaker

from constructs import Construct
from contracts import naming
from contracts.story import FeatureGroupContract
from mlplatform.policies import allow, arn, arn_of, service_role, use_key, write_prefixes

_GLUE_DATABASE = "sagemaker_featurestore"  # SageMaker's own name for offline stores


class FeatureGroup(Construct):
    def __init__(self, scope: Construct, id_: str, *, slug: str, contract: FeatureGroupContract, lake: s3.IBucket,
                 key: kms.IKey) -> None:
        super().__init__(scope, id_)
        self.name = naming.feature_group(slug, contract.name)
        prefix = f"feature-store/{slug}/"
        role = service_role(
            self, "Role", service="sagemaker.amazonaws.com", description=f"Writes the offline store of {self.name}",
            statements=[
                write_prefixes(lake.bucket_arn, prefix),
                allow("s3:GetObject", "s3:DeleteObject", on=f"{lake.bucket_arn}/{prefix}*"),
                allow("s3:GetBucketAcl", "s3:GetBucketLocation", on=lake.bucket_arn),
                allow("s3:ListBucket", on=lake.bucket_arn, when={"StringLike": {"s3:prefix": f"{prefix}*"}}),
                allow("glue:GetDatabase", "glue:CreateDatabase", "glue:GetTable", "glue:CreateTable",
                      "glue:UpdateTable", on=[
                          arn("glue", "catalog"),
                          arn("glue", f"database/{_GLUE_DATABASE}"),
                          arn("glue", f"table/{_GLUE_DATABASE}/*")]),
                use_key(arn_of(key)),
            ],
        )
        self.resource = sagemaker.CfnFeatureGroup(
            self, "Default", feature_group_name=self.name, record_identifier_feature_name=contract.record_identifier,
            event_time_feature_name=contract.event_time, role_arn=role.role_arn,
            feature_definitions=[
                sagemaker.CfnFeatureGroup.FeatureDefinitionProperty(feature_name=f.name, feature_type=f.type)
                for f in contract.features],
            # Typed Any: these two need CloudFormation's own casing.
            online_store_config={
                "EnableOnlineStore": True, "SecurityConfig": {"KmsKeyId": arn_of(key)},
                "TtlDuration": {"Unit": "Days", "Value": contract.online_ttl_days}},
            offline_store_config={
                "S3StorageConfig": {"S3Uri": f"s3://{lake.bucket_name}/{prefix}", "KmsKeyId": arn_of(key)},
                "TableFormat": "Iceberg"},
        )
        self.resource.apply_removal_policy(RemovalPolicy.RETAIN)

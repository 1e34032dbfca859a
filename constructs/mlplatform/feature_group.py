"""A SageMaker feature group, online and offline (Iceberg).

Tags, description, role and offline store are create-only under a fixed name, so a changed tag would
demand a replacement that can't happen: the type is left out of app-wide tags and holds no prose.
"""

from __future__ import annotations

from aws_cdk import CfnResource, RemovalPolicy
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3

from constructs import Construct
from contracts import naming
from contracts.features import FeatureGroupContract
from mlplatform.policies import allow, arn, arn_of, service_role, use_key, write_prefixes


class FeatureGroup(Construct):
    def __init__(self, scope: Construct, id_: str, *, contract: FeatureGroupContract, lake: s3.IBucket,
                 key: kms.IKey) -> None:
        super().__init__(scope, id_)
        self.name, prefix = contract.resource_name, naming.feature_store_prefix(contract.namespace)
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
                          arn("glue", f"database/{naming.FEATURE_DATABASE}"),
                          arn("glue", f"table/{naming.FEATURE_DATABASE}/*")]),
                use_key(arn_of(key)),
            ],
        )
        properties = contract.cloudformation(lake_uri=f"s3://{lake.bucket_name}/{prefix}", key_arn=arn_of(key))
        self.resource = CfnResource(self, "Default", type="AWS::SageMaker::FeatureGroup",
                                    properties={**properties, "RoleArn": role.role_arn})
        self.resource.apply_removal_policy(RemovalPolicy.RETAIN)

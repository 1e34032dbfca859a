"""A story's model package group: every published version, with its lineage."""

from __future__ import annotations

from functools import cached_property

from aws_cdk import RemovalPolicy
from aws_cdk import aws_sagemaker as sagemaker

from constructs import Construct
from contracts import naming
from mlplatform.policies import arn


class ModelRegistry(Construct):
    def __init__(self, scope: Construct, id_: str, *, slug: str) -> None:
        super().__init__(scope, id_)
        self.group_name = naming.model_package_group(slug)
        self.resource = sagemaker.CfnModelPackageGroup(
            self, "Default", model_package_group_name=self.group_name,
            model_package_group_description=f"Published, signed versions of {slug}",
        )
        self.resource.apply_removal_policy(RemovalPolicy.RETAIN)

    @cached_property
    def group_arn(self) -> str:
        return self.resource.attr_model_package_group_arn

    @property
    def package_arns(self) -> str:
        return arn("sagemaker", f"model-package/{self.group_name}/*")

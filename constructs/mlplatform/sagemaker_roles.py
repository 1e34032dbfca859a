"""Roles that SageMaker assumes for jobs and endpoints, and what SageMaker itself does in their name.

Beside the job's own reads and writes, the service pulls the image, ships logs and metrics and
puts network interfaces into the VPC: all of it under this role.
"""

from __future__ import annotations

from collections.abc import Sequence

from aws_cdk import aws_iam as iam
from constructs import Construct

from mlplatform.container_image import pull_images
from mlplatform.network import Network
from mlplatform.policies import Statement, allow, arn, service_role, use_key


def _logs(scope: Construct, group: str) -> list[Statement]:
    return [
        allow("logs:CreateLogGroup", "logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents",
              on=arn(scope, "logs", "log-group", f"/aws/sagemaker/{group}:*", colon=True)),
        # PutMetricData has no resource; the namespace limits it.
        allow("cloudwatch:PutMetricData", on="*", when={"StringLike": {"cloudwatch:namespace": "/aws/sagemaker/*"}}),
    ]


def _interfaces(scope: Construct, network: Network) -> list[Statement]:
    return [
        allow("ec2:CreateNetworkInterface", "ec2:CreateNetworkInterfacePermission", "ec2:DeleteNetworkInterface",
              "ec2:DeleteNetworkInterfacePermission", on=[
                  arn(scope, "ec2", "network-interface", "*"),
                  *(arn(scope, "ec2", "subnet", subnet) for subnet in network.subnet_ids),
                  *(arn(scope, "ec2", "security-group", group) for group in network.security_group_ids)]),
        # Describe calls have no resource-level permissions.
        allow("ec2:DescribeNetworkInterfaces", "ec2:DescribeVpcs", "ec2:DescribeDhcpOptions", "ec2:DescribeSubnets",
              "ec2:DescribeSecurityGroups", on="*"),
    ]


def sagemaker_role(scope: Construct, id_: str, *, description: str, image_repository: str, log_group: str,
                   key_arn: str, statements: Sequence[Statement], network: Network | None) -> iam.Role:
    """`log_group` is SageMaker's own: ProcessingJobs, TrainingJobs or Endpoints/NAME. `network` None: outside the VPC."""
    return service_role(
        scope, id_, service="sagemaker.amazonaws.com", description=description,
        statements=[
            *statements, use_key(key_arn), *_logs(scope, log_group),
            *pull_images([arn(scope, "ecr", "repository", image_repository)]),
            *(_interfaces(scope, network) if network else []),
        ],
    )

"""Roles that SageMaker assumes for jobs and endpoints, and what SageMaker itself does in their name.

Beside the job's own reads and writes, the service pulls the image, ships logs and metrics and
puts network interfaces into the VPC: all of it under this role.
"""

from __future__ import annotations

from collections.abc import Sequence

from constructs import Construct
from mlplatform.container_image import pull_images
from mlplatform.network import Network
from mlplatform.policies import (
    ServiceRole,
    Statement,
    allow,
    arn,
    hand_key_to_aws,
    open_with_key,
    service_role,
    token_arn,
    use_key,
)


def _logs(group: str) -> list[Statement]:
    return [
        allow("logs:CreateLogGroup", "logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents",
              on=arn("logs", f"log-group:/aws/sagemaker/{group}:*")),
        # PutMetricData has no resource; the namespace limits it.
        allow("cloudwatch:PutMetricData", on="*", when={"StringLike": {"cloudwatch:namespace": "/aws/sagemaker/*"}}),
    ]


def _interfaces(network: Network) -> list[Statement]:
    return [
        allow("ec2:CreateNetworkInterface", "ec2:CreateNetworkInterfacePermission", "ec2:DeleteNetworkInterface",
              "ec2:DeleteNetworkInterfacePermission", on=[
                  arn("ec2", "network-interface/*"),
                  *(token_arn("ec2", f"subnet/{subnet}") for subnet in network.subnet_ids),
                  *(token_arn("ec2", f"security-group/{group}") for group in network.security_group_ids)]),
        # Describe calls have no resource-level permissions.
        allow("ec2:DescribeNetworkInterfaces", "ec2:DescribeVpcs", "ec2:DescribeDhcpOptions", "ec2:DescribeSubnets",
              "ec2:DescribeSecurityGroups", on="*"),
    ]


def sagemaker_role(scope: Construct, id_: str, *, description: str, image_repository: str, log_group: str,
                   key_arn: str, statements: Sequence[Statement], network: Network | None,
                   writes: bool = True, encrypts_volume: bool = False) -> ServiceRole:
    """`log_group` is SageMaker's own: ProcessingJobs, TrainingJobs or Endpoints/NAME. Outside the VPC without a
    `network`. An endpoint `writes` nothing under the key. `encrypts_volume`: the job names a key for its volume,
    which SageMaker hands to EBS by a grant."""
    return service_role(
        scope, id_, service="sagemaker.amazonaws.com", description=description,
        statements=[
            *statements, use_key(key_arn) if writes else open_with_key(key_arn), *_logs(log_group),
            *pull_images([arn("ecr", f"repository/{image_repository}")]),
            *(_interfaces(network) if network else []),
            *([hand_key_to_aws(key_arn)] if encrypts_volume else []),
        ],
    )

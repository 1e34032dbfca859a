"""What outlives its stack: data goes only when the construct's argument AND the app's context say so."""

from __future__ import annotations

from aws_cdk import RemovalPolicy
from aws_cdk import aws_logs as logs

from constructs import Construct

DESTROY_CONTEXT = "destroy"
LOG_RETENTION_DAYS = 90


def removal_policy(scope: Construct, *, destroyable: bool) -> RemovalPolicy:
    """RETAIN, unless the construct may go (`destroyable`) and the app runs with `-c destroy=true`."""
    asked = str(scope.node.try_get_context(DESTROY_CONTEXT) or "false").lower() == "true"
    return RemovalPolicy.DESTROY if destroyable and asked else RemovalPolicy.RETAIN


def log_group(scope: Construct, id_: str, *, key_arn: str, name: str | None = None) -> logs.CfnLogGroup:
    """Encrypted and kept for three months; it outlives its stack as data does."""
    group = logs.CfnLogGroup(scope, id_, log_group_name=name, retention_in_days=LOG_RETENTION_DAYS, kms_key_id=key_arn)
    group.apply_removal_policy(removal_policy(scope, destroyable=True))
    return group

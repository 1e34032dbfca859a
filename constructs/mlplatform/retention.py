"""What outlives its stack: data goes only when the construct's argument AND the app's context say so."""

from __future__ import annotations

from aws_cdk import RemovalPolicies, RemovalPolicy
from aws_cdk import aws_logs as logs

from constructs import Construct

DESTROY_CONTEXT = "destroy"
LOG_RETENTION_DAYS = 90


def removal_policy(scope: Construct, *, destroyable: bool) -> RemovalPolicy:
    """RETAIN, unless the construct may go (`destroyable`) and the app runs with `-c destroy=true`."""
    asked = str(scope.node.try_get_context(DESTROY_CONTEXT) or "false").lower() == "true"
    return RemovalPolicy.DESTROY if destroyable and asked else RemovalPolicy.RETAIN


def log_group(scope: Construct, id_: str, *, key_arn: str, name: str | None = None) -> logs.CfnLogGroup:
    """Encrypted and kept for three months; `keep_log_groups` says what becomes of it when its stack goes."""
    return logs.CfnLogGroup(scope, id_, log_group_name=name, retention_in_days=LOG_RETENTION_DAYS, kms_key_id=key_arn)


def keep_log_groups(scope: Construct) -> None:
    """Log groups below `scope` outlive their stacks as data does: one aspect instead of a word to each of them."""
    policies = RemovalPolicies.of(scope)
    gone = removal_policy(scope, destroyable=True) is RemovalPolicy.DESTROY
    (policies.destroy if gone else policies.retain)(apply_to_resource_types=[logs.CfnLogGroup.CFN_RESOURCE_TYPE_NAME])

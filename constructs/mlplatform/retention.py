"""What outlives its stack: data goes only when the construct's argument AND the app's context say so."""

from __future__ import annotations

from aws_cdk import RemovalPolicy
from aws_cdk import aws_logs as logs
from constructs import Construct

DESTROY_CONTEXT = "destroy"
LOG_RETENTION = logs.RetentionDays.THREE_MONTHS


def removal_policy(scope: Construct, *, destroyable: bool) -> RemovalPolicy:
    """RETAIN, unless the construct may go (`destroyable`) and the app runs with `-c destroy=true`."""
    asked = str(scope.node.try_get_context(DESTROY_CONTEXT) or "false").lower() == "true"
    return RemovalPolicy.DESTROY if destroyable and asked else RemovalPolicy.RETAIN

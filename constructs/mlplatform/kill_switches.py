"""SSM flags that stop promotion and retraining.

CloudFormation resets a flag to its template value when any other property changes (a tag is
enough), so everything but the value is frozen here and the type is left out of app-wide tags.
"""

from __future__ import annotations

from collections.abc import Iterable

from aws_cdk import RemovalPolicy
from aws_cdk import aws_ssm as ssm

from constructs import Construct
from contracts import naming
from contracts.kill_switches import Flag
from mlplatform.policies import Statement, allow, arn


class KillSwitches(Construct):
    """One parameter per flag, written once by the first deploy and by operators ever after."""

    def __init__(self, scope: Construct, id_: str, *, flags: Iterable[Flag]) -> None:
        super().__init__(scope, id_)
        self.flags = tuple(flags)
        for flag in self.flags:
            parameter = ssm.CfnParameter(
                # Only these four, and none may ever change: see the module's first lines.
                self, naming.pascal(flag.name.replace("_", "-")), name=flag.parameter, type="String",
                value=str(flag.initial).lower(), allowed_pattern="^(true|false)$",
            )
            parameter.apply_removal_policy(RemovalPolicy.RETAIN)


def read_flags(flags: Iterable[Flag]) -> Statement:
    """Read exactly these flags."""
    return allow("ssm:GetParameters",
                 on=[arn("ssm", f"parameter{flag.parameter}") for flag in flags])


def read_all_flags() -> Statement:
    """Read every flag of every story: the one shared function that decides for all of them."""
    return allow("ssm:GetParameters",
                 on=arn("ssm", f"parameter{naming.FLAG_ROOT}/*"))

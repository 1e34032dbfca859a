"""When the global freeze goes on, deployments in flight are sent back within seconds."""

from __future__ import annotations

from collections.abc import Sequence

from aws_cdk import aws_kms as kms

from constructs import Construct
from contracts import functions as f
from contracts import metrics, naming
from contracts.kill_switches import GLOBAL_FREEZE
from contracts.story import StoryContract
from mlplatform.eventing import FunctionRule, parameter_change
from mlplatform.kill_switches import read_flags
from mlplatform.platform_function import FunctionRoom
from mlplatform.policies import allow, arn, put_metrics

ROOM = "operations"


class FreezeGuard(Construct):
    def __init__(self, scope: Construct, id_: str, *, stories: Sequence[StoryContract], key: kms.IKey) -> None:
        super().__init__(scope, id_)
        room = FunctionRoom(self, "Room", room=ROOM, key=key)
        guard = room.function(f.FREEZE_GUARD, environment=f.NoEnv(), statements=[
            read_flags((GLOBAL_FREEZE, *(flag for story in stories for flag in story.flags))),
            allow("sagemaker:DescribeEndpoint",
                  on=[arn("sagemaker", f"endpoint/{naming.endpoint(story.slug)}") for story in stories]),
            put_metrics(metrics.NAMESPACE),
        ])
        FunctionRule(self, "OnFreeze", says="The global freeze was switched: abort canaries in flight",
                     pattern=parameter_change(GLOBAL_FREEZE.parameter), function=guard)

"""What on-call looks at and what acts for on-call: dashboard, failure alarms, the freeze guard."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aws_cdk import Stack
from mlplatform.freeze_guard import FreezeGuard
from mlplatform.operations_dashboard import OperationsDashboard
from mlplatform.platform_alarms import PlatformAlarms

from constructs import Construct
from contracts.deployments import Deployment
from stacks.data import DataStack
from stacks.platform import PlatformStack
from stacks.realtime_story import RealtimeStoryStack


class OperationsStack(Stack):
    def __init__(self, scope: Construct, id_: str, *, deployment: Deployment, data: DataStack, platform: PlatformStack,
                 stories: Sequence[RealtimeStoryStack], **options: Any) -> None:
        super().__init__(scope, id_, **options)
        contracts = [story.story for story in stories]
        FreezeGuard(self, "FreezeGuard", stories=contracts, key=data.key)
        PlatformAlarms(self, "Alarms", stories=contracts, home=deployment.home,
                       topic_arn=platform.on_call.topic.topic_arn)
        OperationsDashboard(self, "Dashboard", deployment=deployment, stories=contracts)

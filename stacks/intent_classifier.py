"""US-MLE-01, the intent classifier: everything its contract declares."""

from __future__ import annotations

from typing import Any

from constructs import Construct
from contracts.deployments import Deployment
from contracts.stories.intent_classifier import INTENT_CLASSIFIER
from stacks.data import DataStack
from stacks.platform import PlatformStack
from stacks.realtime_story import RealtimeStoryStack


class IntentClassifierStack(RealtimeStoryStack):
    def __init__(self, scope: Construct, id_: str, *, deployment: Deployment, data: DataStack, platform: PlatformStack,
                 **options: Any) -> None:
        super().__init__(scope, id_, story=INTENT_CLASSIFIER, deployment=deployment, data=data, platform=platform,
                         **options)

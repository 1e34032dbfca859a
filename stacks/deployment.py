"""One deployment as a CDK stage: its four stacks, tags and permission boundary."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from aws_cdk import App, Environment, PermissionsBoundary, Stack, Stage, Tags, Validations
from mlplatform.retention import keep_log_groups
from mlplatform.rules import RULES, RulePack

from constructs import Construct
from contracts import naming
from contracts.deployments import DEPLOYMENTS, Deployment, deployment
from contracts.stories import CONTRACTS
from stacks.data import DataStack
from stacks.intent_classifier import IntentClassifierStack
from stacks.operations import OperationsStack
from stacks.platform import PlatformStack
from stacks.rule_acknowledgements import RULE_ACKNOWLEDGEMENTS

# A tag on these forces a replacement that can't happen (fixed names) or resets a flag's value. Nor on the
# stack: CloudFormation hands a stack's tags to every resource in it, the flags included.
UNTAGGED = ["AWS::SageMaker::FeatureGroup", "AWS::SSM::Parameter", "aws:cdk:stack"]


class DeploymentStage(Stage):
    """Account-agnostic; the region is the deployment's."""

    def __init__(self, scope: Construct, deployment: Deployment, *, tags: Mapping[str, str],
                 permission_boundary: str | None) -> None:
        boundary = PermissionsBoundary.from_name(permission_boundary) if permission_boundary else None
        super().__init__(scope, deployment.name, env=Environment(region=deployment.region),
                         permissions_boundary=boundary)

        def options(room: str, *, holds_state: bool) -> dict[str, Any]:
            return {"stack_name": naming.stack(deployment.name, room), "deployment": deployment,
                    "termination_protection": holds_state, "description": f"MangaAssist ML: {room} ({deployment.name})"}

        data = DataStack(self, "Data", **options("data", holds_state=True))
        platform = PlatformStack(self, "Platform", data=data, **options("platform", holds_state=True))
        intent = IntentClassifierStack(self, "IntentClassifier", data=data, platform=platform,
                                       **options("intent-classifier", holds_state=True))
        operations = OperationsStack(self, "Operations", data=data, platform=platform, stories=[intent],
                                     **options("operations", holds_state=False))
        # It watches the story's machines by name, so the order has to be said.
        operations.add_stack_dependency(intent)
        keep_log_groups(self)
        self.stacks: tuple[Stack, ...] = (data, platform, intent, operations)
        for name, value in {"project": naming.PROJECT, "deployment": deployment.name, **tags}.items():
            Tags.of(self).add(name, value, exclude_resource_types=UNTAGGED)


def deploy_all(app: App) -> list[DeploymentStage]:
    """The deployments that the context asks for; synth fails when one of them breaks a rule."""
    name = app.node.try_get_context("deployment")
    chosen = (deployment(name),) if name else DEPLOYMENTS
    tags = _tags(app.node.try_get_context("tags"))
    boundary = app.node.try_get_context("permission_boundary")
    Validations.of(app).add_plugins(
        RulePack(RULES, stories=CONTRACTS.values(), acknowledged=RULE_ACKNOWLEDGEMENTS))
    return [DeploymentStage(app, d, tags=tags, permission_boundary=boundary) for d in chosen]


def _tags(raw: object) -> dict[str, str]:
    """From cdk.json an object, from `-c tags=...` its JSON text."""
    value = json.loads(raw) if isinstance(raw, str) else raw
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise ValueError(f'context `tags` must be an object like {{"cost-center": "ml"}}, got {raw!r}')
    return {str(k): str(v) for k, v in value.items()}

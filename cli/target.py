"""Where a command acts: one deployment, on AWS or on an embedded AWS.

The embedded AWS is nothing but another endpoint URL. Its root keys are public and only used when an
endpoint URL is given and the environment holds no credentials, so they can never reach AWS.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from cli.errors import CliError, one_of
from contracts import naming
from contracts.deployments import DEPLOYMENTS, Deployment
from contracts.stories import CONTRACTS, ROSTER
from contracts.story import StoryContract

EMBEDDED_ROOT_KEY = "test"


def find_deployment(name: str) -> Deployment:
    """By name (`jp`) or by region (`ap-northeast-1`)."""
    for candidate in DEPLOYMENTS:
        if name in (candidate.name, candidate.region):
            return candidate
    raise one_of("deployment or region", name, [f"{d.name} ({d.region})" for d in DEPLOYMENTS])


def find_story(slug: str) -> StoryContract:
    if slug in CONTRACTS:
        return CONTRACTS[slug]
    if slug in ROSTER:
        raise CliError(
            f"story {slug!r} is on the roster but not built yet: allowed are {', '.join(CONTRACTS)}"
        )
    raise one_of("story", slug, list(CONTRACTS))


@dataclass(frozen=True, kw_only=True)
class Target:
    deployment: Deployment
    endpoint_url: str | None = None
    _clients: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, deployment: str, endpoint_url: str | None = None) -> Target:
        return cls(
            deployment=find_deployment(deployment),
            endpoint_url=endpoint_url or os.environ.get("AWS_ENDPOINT_URL"),
        )

    @property
    def embedded(self) -> bool:
        return self.endpoint_url is not None

    @cached_property
    def session(self) -> boto3.Session:
        keys: dict[str, str] = {}
        if self.embedded and "AWS_ACCESS_KEY_ID" not in os.environ and "AWS_PROFILE" not in os.environ:
            keys = {"aws_access_key_id": EMBEDDED_ROOT_KEY, "aws_secret_access_key": EMBEDDED_ROOT_KEY}
        return boto3.Session(region_name=self.deployment.region, **keys)

    def client(self, service: str) -> Any:
        if service not in self._clients:
            self._clients[service] = self.session.client(
                service,
                endpoint_url=self.endpoint_url,
                config=Config(retries={"mode": "standard", "max_attempts": 3}, read_timeout=70),
            )
        return self._clients[service]

    @cached_property
    def account(self) -> str:
        return str(self.client("sts").get_caller_identity()["Account"])

    def bucket(self, purpose: str) -> str:
        return naming.bucket(purpose, self.deployment.name, self.account)

    def state_machine_arn(self, name: str) -> str:
        return f"arn:aws:states:{self.deployment.region}:{self.account}:stateMachine:{name}"


def explain(error: ClientError | BotoCoreError, target: Target | None) -> str:
    """An AWS error in an operator's words."""
    where = target.endpoint_url if target and target.embedded else "AWS"
    if isinstance(error, ClientError):
        code = error.response.get("Error", {}).get("Code", "?")
        hint = ""
        if code in (
            "ResourceNotFoundException",
            "StateMachineDoesNotExist",
            "NoSuchBucket",
            "ResourceNotFound",
        ):
            hint = f" Is deployment {target.deployment.name!r} deployed there?" if target else ""
        message = error.response.get("Error", {}).get("Message", code)
        return f"{error.operation_name} at {where}: {message} ({code}).{hint}"
    return f"{where}: {error}"

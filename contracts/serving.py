"""The serving spec: what a template says of an endpoint; the release workflow makes the endpoint from it.

Model, EndpointConfig and Endpoint are no template resources, because a mere tag would replace
them and a deploy would undo a promotion. The spec is one SSM parameter; a changed spec runs the
release in `reconcile` mode.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class CanaryPolicy:
    """Blue/green traffic shift. SageMaker: canary <= 50 %, waits <= 3600 s each."""

    percent: int
    bake_s: int
    termination_wait_s: int  # the previous fleet stays warm this long, for a roll-back in seconds

    def __post_init__(self) -> None:
        if not 1 <= self.percent <= 50:
            raise ValueError(f"percent must be 1 to 50 (SageMaker's limit), got {self.percent}")
        if not 0 <= self.bake_s <= 3600 or not 0 <= self.termination_wait_s <= 3600:
            raise ValueError(
                f"bake_s and termination_wait_s must be 0 to 3600, got {self.bake_s}, "
                f"{self.termination_wait_s}"
            )


@dataclass(frozen=True, kw_only=True)
class ServingSpec:
    story: str
    instance_type: str
    min_instances: int
    max_instances: int
    invocations_per_instance: int  # per minute, the autoscaling target
    image: str  # repository URI pinned by digest
    role_arn: str
    kms_key: str
    subnets: tuple[str, ...]
    security_groups: tuple[str, ...]
    guardrail_alarms: tuple[str, ...]
    canary: CanaryPolicy
    environment: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> str:
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> ServingSpec:
        raw: dict[str, Any] = json.loads(text)
        raw["canary"] = CanaryPolicy(**raw["canary"])
        for name in ("subnets", "security_groups", "guardrail_alarms"):
            raw[name] = tuple(raw[name])
        return cls(**raw)

    def digest(self) -> str:
        """Names the models and endpoint configs made from this spec: same spec, same name."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

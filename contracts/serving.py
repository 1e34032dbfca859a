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

CANARY, LINEAR = "CANARY", "LINEAR"  # SageMaker's words: one small step and the rest, or equal steps


@dataclass(frozen=True, kw_only=True)
class CanaryPolicy:
    """Blue/green traffic shift: `percent` of the traffic a step, each watched for `bake_s`.

    SageMaker: a canary is 1 to 50 %, a linear step 10 to 50 %, waits <= 3600 s each.
    """

    percent: int
    bake_s: int
    termination_wait_s: int  # the previous fleet stays warm this long, for a roll-back in seconds
    routing: str = CANARY

    def __post_init__(self) -> None:
        least = {CANARY: 1, LINEAR: 10}.get(self.routing)
        if least is None:
            raise ValueError(f"routing must be {CANARY} or {LINEAR}, got {self.routing!r}")
        if not least <= self.percent <= 50:
            raise ValueError(
                f"percent must be {least} to 50 (SageMaker's limit for {self.routing}), got {self.percent}"
            )
        if not 0 <= self.bake_s <= 3600 or not 0 <= self.termination_wait_s <= 3600:
            raise ValueError(
                f"bake_s and termination_wait_s must be 0 to 3600, got {self.bake_s}, "
                f"{self.termination_wait_s}"
            )

    @property
    def shifting_s(self) -> int:
        """From the first request to the candidate until it has all traffic and its last bake is over."""
        steps = 2 if self.routing == CANARY else -(-100 // self.percent)
        return steps * self.bake_s


@dataclass(frozen=True, kw_only=True)
class CanaryTest:
    """When a candidate is worse than the champion beside it, beyond doubt and by an amount that matters.

    `alpha`: how often a candidate that is no worse is aborted all the same, over all looks and measures of one
    release. `tolerated_*`: by how much its share of such answers may exceed the champion's.
    """

    alpha: float
    unsure_below: float  # confidence
    tolerated_errors: float
    tolerated_slow: float
    tolerated_unsure: float

    def __post_init__(self) -> None:
        for name in ("alpha", "unsure_below", "tolerated_errors", "tolerated_slow", "tolerated_unsure"):
            if not 0 < getattr(self, name) < 1:
                raise ValueError(f"{name} must be between 0 and 1, got {getattr(self, name)}")


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

"""The serving spec: what a template says of an endpoint; the release workflow makes the endpoint from it.

Model, EndpointConfig and Endpoint are no template resources, because a mere tag would replace
them and a deploy would undo a promotion. The spec is one SSM parameter; a changed spec runs the
release in `reconcile` mode.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

CANARY, LINEAR = "CANARY", "LINEAR"  # SageMaker's words: one small step and the rest, or equal steps
# A shadow is looked at every two minutes; a run that watches for longer than four hours keeps its lease for too long.
MIN_WATCH_S, MAX_WATCH_S = 120, 14_400


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
class ShadowPolicy:
    """Before its canary a candidate gets a copy of `percent` of the requests for `watch_s`, and answers nobody.

    `tolerated_disagreement`: the share of pairs of answers that may differ. Who of the two is right nobody can say,
    so this is for a candidate that is another model than it should be, not for one that has learnt something.
    `compared_percent`: of the mirrored requests, the share whose answers are read from the log and compared.
    """

    percent: int
    watch_s: int
    tolerated_disagreement: float
    compared_percent: int

    def __post_init__(self) -> None:
        for name in ("percent", "compared_percent"):
            if not 1 <= getattr(self, name) <= 100:
                raise ValueError(f"{name} must be 1 to 100, got {getattr(self, name)}")
        if not MIN_WATCH_S <= self.watch_s <= MAX_WATCH_S:
            raise ValueError(f"watch_s must be {MIN_WATCH_S} to {MAX_WATCH_S}, got {self.watch_s}; for no shadow at "
                             "all leave the policy out")
        if not 0 < self.tolerated_disagreement < 1:
            raise ValueError(f"tolerated_disagreement must be between 0 and 1, got {self.tolerated_disagreement}")


@dataclass(frozen=True, kw_only=True)
class CanaryTest:
    """When a candidate is worse than the champion beside it, beyond doubt and by an amount that matters.

    `alpha`: how often a candidate that is no worse is aborted all the same, over all looks and measures of one
    canary, and as often over those of one shadow. `tolerated_*`: by how much its share of such answers may exceed
    the champion's.
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
    shadow: ShadowPolicy | None = None  # None: a release begins with its canary
    environment: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> str:
        """Without a shadow as it was before specs knew shadows: what is not there must not look like a change."""
        values = asdict(self)
        if self.shadow is None:
            del values["shadow"]
        return json.dumps(values, sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> ServingSpec:
        raw: dict[str, Any] = json.loads(text)
        raw["canary"] = CanaryPolicy(**raw["canary"])
        raw["shadow"] = ShadowPolicy(**raw["shadow"]) if raw.get("shadow") else None
        for name in ("subnets", "security_groups", "guardrail_alarms"):
            raw[name] = tuple(raw[name])
        return cls(**raw)

    def digest(self) -> str:
        """Names the models and endpoint configs made from this spec: same spec, same name.

        The shadow is a matter between two of them and part of neither, so another one replaces no fleet.
        """
        return hashlib.sha256(replace(self, shadow=None).to_json().encode()).hexdigest()

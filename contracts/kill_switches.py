"""Kill switches: three levels of flags, their precedence and safe defaults, one decision.

1. `global_ml_freeze` beats everything: pinned to the last known good version, nothing deploys,
   drift triggers are ignored.
2. `<model>_promotion_enabled` off: the production model goes on, nothing is promoted.
3. technique flags: finest, honoured last.

A flag that can't be read takes its safe default: freeze -> false (a missing signal does not
freeze), promotion -> false (never promote an unverified path), technique -> its contract's default.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum

from contracts import naming


class Mode(StrEnum):
    FROZEN = "frozen"
    PROMOTION_OFF = "promotion_off"
    OPEN = "open"


@dataclass(frozen=True, kw_only=True)
class Flag:
    """One SSM parameter. `initial` is what a first deploy writes; `safe` holds when it can't be read."""

    name: str
    initial: bool
    safe: bool
    description: str

    @property
    def parameter(self) -> str:
        return naming.flag_parameter(self.name)


GLOBAL_FREEZE = Flag(
    name=naming.GLOBAL_ML_FREEZE,
    initial=False,
    safe=False,
    description="SEV-1/2: pin every model to its last known good version, block deployments, ignore drift",
)


def promotion_flag(slug: str) -> Flag:
    return Flag(
        name=naming.promotion_flag(slug),
        initial=True,
        safe=False,
        description=f"promotion of {slug}: off keeps the production model and judges without promoting",
    )


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What a workflow, a trigger or a reader may do now, and why."""

    mode: Mode
    may_retrain: bool
    may_release: bool  # move an endpoint towards a new version
    may_promote: bool
    heed_drift: bool
    techniques: Mapping[str, bool] = field(default_factory=dict)
    fallbacks: tuple[str, ...] = ()  # flags that could not be read
    reasons: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, object]:
        return {
            **asdict(self),
            "mode": str(self.mode),
            "techniques": dict(self.techniques),
            "fallbacks": list(self.fallbacks),
            "reasons": list(self.reasons),
        }


def parse_flag(raw: str | None) -> bool | None:
    """`true` or `false` as stored in SSM; anything else counts as unreadable (None)."""
    if raw is None:
        return None
    return {"true": True, "false": False}.get(raw.strip().lower())


def decide(readings: Mapping[str, str | None], *, slug: str, techniques: tuple[Flag, ...] = ()) -> Decision:
    """One decision from raw flag values.

    Parameters
    ----------
    readings : flag name -> the stored text, or None (or absent) when it could not be read.
    slug : the model asked about.
    techniques : the story's technique flags.
    """
    fallbacks: list[str] = []

    def value(flag: Flag) -> bool:
        parsed = parse_flag(readings.get(flag.name))
        if parsed is None:
            fallbacks.append(flag.name)
            return flag.safe
        return parsed

    promotion = promotion_flag(slug)
    frozen = value(GLOBAL_FREEZE)
    promotable = value(promotion)
    technique_values = {flag.name: value(flag) for flag in techniques}
    reasons = [f"{name} could not be read: its safe default holds" for name in fallbacks]
    if frozen:
        return Decision(
            mode=Mode.FROZEN,
            may_retrain=False,
            may_release=False,
            may_promote=False,
            heed_drift=False,
            techniques={name: False for name in technique_values},
            fallbacks=tuple(fallbacks),
            reasons=(f"{GLOBAL_FREEZE.name} is on", *reasons),
        )
    if not promotable:
        return Decision(
            mode=Mode.PROMOTION_OFF,
            may_retrain=True,
            may_release=False,
            may_promote=False,
            heed_drift=True,
            techniques=technique_values,
            fallbacks=tuple(fallbacks),
            reasons=(f"{promotion.name} is off", *reasons),
        )
    return Decision(
        mode=Mode.OPEN,
        may_retrain=True,
        may_release=True,
        may_promote=True,
        heed_drift=True,
        techniques=technique_values,
        fallbacks=tuple(fallbacks),
        reasons=tuple(reasons),
    )

"""Should this alarm start a retrain, and may it now?

A cause that all stories share (a client that sends another encoding, a holiday) makes all of them alarm within the
hour. Retraining eight models at once helps none of them and is dear, so within `storm_s` at most `max_starts` begin, in
the order in which stories feed each other; the others are recorded as deferred and asked again every hour.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from contracts import events, naming
from contracts.kill_switches import Decision

_HOUR_S = 3_600


@dataclass(frozen=True, kw_only=True)
class Answer:
    start: bool
    reason: str


@dataclass(frozen=True, kw_only=True)
class StormPolicy:
    max_starts: int = 2  # two training instances at once, and two releases that on-call can follow
    storm_s: int = 6 * _HOUR_S  # a drift run is done by then: prepare, train, evaluate, canary
    cooldown_s: int = 24 * _HOUR_S  # the run has ended and the next reference is in place; sooner nothing is new
    patience_s: int = 24 * _HOUR_S  # a deferred claim older than this is forgotten: the alarm asks anew if it must


POLICY = StormPolicy()


class Admission(StrEnum):
    START = "start"
    DEFERRED = "deferred: as many drift retrains as allowed at once have started"
    COOLING = "cooling down: a drift retrain of this story started within a day"


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A story's last wish for a drift retrain. `at`: epoch seconds of its start, or of the alarm while deferred."""

    event_id: str
    alarm: str
    at: int
    started: bool

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Claim:
        return cls(event_id=str(raw["event_id"]), alarm=str(raw["alarm"]), at=int(raw["at"]),
                   started=bool(raw["started"]))


Ledger = Mapping[str, Claim]  # slug -> the story's last claim


def drift_alarm_of(event: Mapping[str, Any], slug: str, monitors: Sequence[str]) -> str | None:
    """The name of this story's drift alarm that went off (not one that calmed down), or None.

    The alarm about a silent monitor begins with the same words; silence is for on-call and no reason to retrain.
    """
    detail = event.get("detail") or {}
    name = str(detail.get("alarmName", ""))
    rings = event.get("detail-type") == events.ALARM_STATE_CHANGE and (
        (detail.get("state") or {}).get("value") == "ALARM")
    ours = any(name.startswith(naming.drift_alarm(slug, monitor, "")) for monitor in monitors)
    return name if rings and ours else None


def answer(alarm: str, decision: Decision) -> Answer:
    if not decision.heed_drift:
        return Answer(start=False, reason=str(decision.mode))
    return Answer(start=True, reason=alarm)


def deferred_claim(ledger: Ledger, slug: str, *, now: int, policy: StormPolicy = POLICY) -> Claim | None:
    """What this story still waits for."""
    claim = ledger.get(slug)
    waits = claim is not None and not claim.started and now - claim.at < policy.patience_s
    return claim if waits else None


def admit(
    ledger: Ledger, asking: Mapping[str, Claim], *, now: int, priority: Sequence[str], policy: StormPolicy = POLICY
) -> dict[str, Admission]:
    """What becomes of every story that asks or still waits; the same whatever the order in which they asked.

    A claim that has started before (its event was delivered twice) starts again under the same execution name, which
    takes no further place.
    """
    found: dict[str, Admission] = {}
    waiting = {slug for slug in ledger if deferred_claim(ledger, slug, now=now, policy=policy)}
    for slug, claim in asking.items():
        last = ledger.get(slug)
        if last is not None and last.started and last.event_id == claim.event_id:
            found[slug] = Admission.START
        elif last is not None and last.started and now - last.at < policy.cooldown_s:
            found[slug] = Admission.COOLING
        else:
            waiting.add(slug)
    running = sum(claim.started and now - claim.at < policy.storm_s for claim in ledger.values())
    rank = {slug: place for place, slug in enumerate(priority)}
    order = sorted(waiting, key=lambda slug: (rank.get(slug, len(rank)), slug))
    for place, slug in enumerate(order):
        found[slug] = Admission.START if place < policy.max_starts - running else Admission.DEFERRED
    return found


def recorded(ledger: Ledger, slug: str, claim: Claim, admission: Admission, *, now: int) -> dict[str, Claim]:
    """The ledger after this story heard its answer; the others write theirs when they ask."""
    last = ledger.get(slug)
    if admission is Admission.COOLING or (last is not None and last.started and last.event_id == claim.event_id):
        return dict(ledger)
    started = admission is Admission.START
    at = now if started else claim.at
    return {**ledger, slug: Claim(event_id=claim.event_id, alarm=claim.alarm, at=at, started=started)}

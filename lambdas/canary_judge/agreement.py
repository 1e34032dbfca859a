"""What champion and shadow answered to the same requests: how often they agree, and how long each took.

A difference does not say who is right. It is evidence against a candidate only where it is larger than a retrained
model of the same task can explain, and the contract says how large that is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from contracts.sequential import Outcomes, above_beyond_doubt, e_value, log_e_above
from contracts.served_log import ServedLine


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """`differ`: language -> in how many of how many pairs; `ms`: of each pair, the champion's and the candidate's."""

    tolerated: float
    differ: Mapping[str, Outcomes] = field(default_factory=dict)
    ms: Sequence[tuple[float, float]] = ()
    why_not: str = ""  # nothing could be compared

    def excesses(self, alpha: float) -> list[str]:
        """Each language in which more answers differ than is tolerated, beyond doubt, with its numbers."""
        return [f"answers in {language} differ in {seen.failed} of {seen.of} ({seen.rate:.1%}), tolerated are "
                f"{self.tolerated:.1%}, {e_value(log_e_above(seen, self.tolerated), alpha)}"
                for language, seen in self.differ.items() if above_beyond_doubt(seen, self.tolerated, alpha)]

    @property
    def said(self) -> str:
        if not self.ms:
            return self.why_not or "no answers to the same requests were there to compare"
        agree = ", ".join(f"{language} {1 - seen.rate:.1%} of {seen.of}" for language, seen in self.differ.items())
        champion, candidate = (
            f"{quantile(side, 0.5):.1f}/{quantile(side, 0.95):.1f}" for side in zip(*self.ms, strict=True))
        return f"answers agree: {agree}; p50/p95 {candidate} ms beside {champion}"


def agreement(lines: Iterable[ServedLine], *, champion: str, candidate: str, tolerated: float) -> Agreement:
    """Pairs by request_id. Of a request that was asked again the first answer of each side counts."""
    sides: dict[str, dict[str, ServedLine]] = {champion: {}, candidate: {}}
    for line in lines:
        sides.get(line.version, {}).setdefault(line.request_id, line)
    differ: dict[str, Outcomes] = {}
    ms = []
    for rid, ours in sides[champion].items():
        theirs = sides[candidate].get(rid)
        if theirs is None:
            continue  # not mirrored, failed there, or its line is still on the way
        one = Outcomes(failed=int(ours.answer != theirs.answer), of=1)
        differ[ours.language] = differ.get(ours.language, Outcomes(failed=0, of=0)) + one
        ms.append((ours.ms, theirs.ms))
    return Agreement(tolerated=tolerated, differ=dict(sorted(differ.items())), ms=ms)


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of them do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

"""Is the candidate worse than the champion beyond doubt? Paired bootstrap on the same golden rows.

Two facts shape it. Only discordant rows (one right, the other wrong) carry information, so
resampling rows is resampling three counts, and 20,000 resamples take milliseconds. And with few
discordant rows a plain bootstrap is too sure of itself (four losses and no win would turn down one
in sixteen equal candidates), so one win and one loss are added to each side's count
(Agresti & Min 2005, doi:10.1002/sim.1781).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

TWO_SIGMA = 0.97725  # one-sided level of two standard deviations
RESAMPLES = 20_000

Bools = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Interval:
    """Candidate minus champion, in accuracy (0 to 1), with one-sided 2-sigma ends."""

    delta: float
    lower: float
    upper: float
    rows: int

    def to_dict(self) -> dict[str, float | int]:
        return {"delta": self.delta, "lower": self.lower, "upper": self.upper, "rows": self.rows}


@dataclass(frozen=True, kw_only=True)
class Family:
    """The worst member of a family of comparisons, with family-wise ends."""

    worst: str
    interval: Interval
    members: Mapping[str, Interval]

    def to_dict(self) -> dict[str, object]:
        return {**self.interval.to_dict(), "worst": self.worst,
                "members": {name: member.to_dict() for name, member in self.members.items()}}


def _checked(candidate: Bools, champion: Bools) -> tuple[Bools, Bools]:
    pair = np.asarray(candidate), np.asarray(champion)
    for side in pair:
        if side.dtype != np.bool_ or side.ndim != 1:
            raise ValueError(f"needs one boolean per row (right or wrong), got {side.dtype} of shape {side.shape}; "
                             "a missing answer is a wrong answer, never NaN")
    if len(pair[0]) != len(pair[1]) or len(pair[0]) == 0:
        raise ValueError(f"needs the same rows on both sides and at least one, got {len(pair[0])} and {len(pair[1])}")
    return pair


def _resampled(candidate: Bools, champion: Bools, rng: np.random.Generator) -> tuple[NDArray[np.float64], float, float]:
    """(resampled deltas, centre, standard error), all with the added win and loss."""
    n = len(candidate)
    wins = int((candidate & ~champion).sum()) + 1
    losses = int((champion & ~candidate).sum()) + 1
    total = max(n + 2, wins + losses)
    shares = np.array([wins, losses, total - wins - losses]) / total
    counts = rng.multinomial(total, shares, size=RESAMPLES)
    deltas = (counts[:, 0] - counts[:, 1]) / total
    centre = (wins - losses) / total
    error = float(np.sqrt(((wins + losses) / total - centre**2) / total))
    return deltas, centre, error


def paired(candidate: Bools, champion: Bools, *, seed: int) -> Interval:
    """Percentile interval of the difference of two accuracies on the same rows.

    Parameters
    ----------
    candidate, champion : bool arrays, shape (rows,)
        Whether each was right on each row, in the same order.

    Raises
    ------
    ValueError
        Not booleans (NaN included), different lengths, or no rows.
    """
    candidate, champion = _checked(candidate, champion)
    deltas, _, _ = _resampled(candidate, champion, np.random.default_rng(seed))
    return Interval(
        delta=float(candidate.mean() - champion.mean()), rows=len(candidate),
        lower=float(np.quantile(deltas, 1 - TWO_SIGMA)), upper=float(np.quantile(deltas, TWO_SIGMA)),
    )


def paired_family(members: Mapping[str, tuple[Bools, Bools]], *, seed: int) -> Family:
    """Max-T over a family of disjoint row sets (Westfall & Young 1993): one error rate for all members.

    `rows` of the answer is that of the smallest member: evidence is as thin as its thinnest part.
    """
    if not members:
        raise ValueError("a family needs at least one member, got none")
    rng = np.random.default_rng(seed)
    checked = {name: _checked(*pair) for name, pair in sorted(members.items())}
    draws = {name: _resampled(*pair, rng) for name, pair in checked.items()}
    studentised = np.stack([(deltas - centre) / error for deltas, centre, error in draws.values()])
    reach_up = float(np.quantile((-studentised).max(axis=0), TWO_SIGMA))
    reach_down = float(np.quantile(studentised.max(axis=0), TWO_SIGMA))
    intervals = {
        name: Interval(
            delta=float(checked[name][0].mean() - checked[name][1].mean()), rows=len(checked[name][0]),
            lower=centre - reach_down * error, upper=centre + reach_up * error,
        )
        for name, (_, centre, error) in draws.items()
    }
    worst = min(intervals, key=lambda name: intervals[name].upper)
    found = intervals[worst]
    return Family(worst=worst, members=intervals, interval=Interval(
        delta=found.delta, lower=found.lower, upper=found.upper, rows=min(i.rows for i in intervals.values())))

"""Population stability over binned counts: mergeable, so a day merges from its hours.

PSI = sum over bins of (q - p) ln(q / p), p the reference share and q the current share
(Siddiqi 2006, "Credit Risk Scorecards"); 0.1 is a small and 0.2 a large shift by convention.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

# Half a request in every empty bin: ln(0) is undefined, and a fixed epsilon would make PSI grow
# with the number of empty bins however small the window.
SMOOTHING = 0.5


@dataclass(frozen=True, kw_only=True)
class Reference:
    """The champion's distribution of one feature: bin edges (numeric) or categories, and counts."""

    feature: str
    counts: tuple[int, ...]
    edges: tuple[float, ...] = ()  # len(counts) - 1 inner edges; empty for a categorical feature
    categories: tuple[str, ...] = ()  # len(counts) - 1 names; the last bin is everything else

    def __post_init__(self) -> None:
        inner = self.edges or self.categories
        if len(self.counts) != len(inner) + 1:
            raise ValueError(
                f"{self.feature}: {len(inner)} edges or categories need {len(inner) + 1} counts, "
                f"got {len(self.counts)}"
            )
        if any(count < 0 for count in self.counts):
            raise ValueError(f"{self.feature}: counts must be 0 or more, got {list(self.counts)}")
        if list(self.edges) != sorted(self.edges):
            raise ValueError(f"{self.feature}: edges must ascend, got {list(self.edges)}")

    def bin(self, value: object) -> int:
        if self.edges:
            return bisect_right(self.edges, float(value))  # type: ignore[arg-type]
        text = str(value)
        return self.categories.index(text) if text in self.categories else len(self.categories)

    def to_dict(self) -> dict[str, object]:
        return {
            "feature": self.feature,
            "counts": list(self.counts),
            "edges": list(self.edges),
            "categories": list(self.categories),
        }

    @classmethod
    def from_dict(cls, raw: Mapping[str, Sequence]) -> Reference:
        return cls(
            feature=str(raw["feature"]),
            counts=tuple(raw["counts"]),
            edges=tuple(raw.get("edges", ())),
            categories=tuple(raw.get("categories", ())),
        )


def psi(reference: Sequence[int], current: Sequence[int]) -> float:
    """Population stability index of two histograms over the same bins, in nats; >= 0.

    Raises ValueError when the bins differ or either side is empty: no data is not "no drift".
    """
    if len(reference) != len(current):
        raise ValueError(f"both histograms need the same bins, got {len(reference)} and {len(current)}")
    if sum(reference) == 0 or sum(current) == 0:
        raise ValueError(
            "PSI needs rows on both sides; an empty window is missing data, not absence of drift"
        )
    bins = len(reference)
    p_total = sum(reference) + SMOOTHING * bins
    q_total = sum(current) + SMOOTHING * bins
    total = 0.0
    for p_count, q_count in zip(reference, current, strict=True):
        p = (p_count + SMOOTHING) / p_total
        q = (q_count + SMOOTHING) / q_total
        total += (q - p) * math.log(q / p)
    return total


def histogram(reference: Reference, values: Sequence[object]) -> list[int]:
    counts = [0] * len(reference.counts)
    for value in values:
        counts[reference.bin(value)] += 1
    return counts

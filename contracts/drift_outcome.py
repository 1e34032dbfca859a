"""What one look says of one slice: drifted, stable, or too little to say. The third is never read as the second."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from contracts.concept_drift import Confusion, f1_drop, macro_f1
from contracts.drift import psi
from contracts.drift_tests import chi_squared

MAX_MISSING_SHARE = 0.05  # of a window's requests without the feature


class Verdict(StrEnum):
    DRIFTED = "drifted"
    STABLE = "stable"
    INSUFFICIENT = "insufficient"


@dataclass(frozen=True, kw_only=True)
class Rule:
    """Drift is a shift above `threshold` (practical) that chance brings with at most `level` (significant)."""

    threshold: float
    level: float
    min_rows: int  # in the window

    def __post_init__(self) -> None:
        if not 0 < self.level < 1:
            raise ValueError(f"level must be above 0 and below 1, got {self.level}")
        if self.min_rows < 1:
            raise ValueError(f"min_rows must be 1 or more, got {self.min_rows}")


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """`effect` and `p_value` are None exactly when the verdict is insufficient; `reason` is never empty."""

    verdict: Verdict
    reason: str
    rows: int
    reference_rows: int
    effect: float | None = None
    p_value: float | None = None

    def __post_init__(self) -> None:
        if (self.verdict is Verdict.INSUFFICIENT) != (self.effect is None):
            raise ValueError(f"an outcome has an effect unless it is insufficient, got {self.verdict} {self.effect}")

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def judge_counts(
    reference: Sequence[int] | None, current: Sequence[int], rule: Rule, *, missing: int = 0,
) -> Outcome:
    """PSI for the size, chi-squared over the same bins for the significance.

    `missing` are the window's rows without the feature; they are in no bin.
    """
    rows, known = sum(current), sum(reference) if reference else 0
    lacking = _holes(rows, missing) or _lacking(rows, known, rule)
    if lacking or reference is None:
        return _insufficient(lacking, rows, known)
    effect, test = psi(reference, current), chi_squared(reference, current)
    if effect > rule.threshold and test.p_value == 1.0:  # so few rows outside one bin that all were pooled
        return _insufficient(f"PSI {effect:.3f}, but too few rows outside one bin to test it", rows, known)
    return _judged(effect, test.p_value, rule, rows=rows, reference_rows=known, what="PSI")


def judge_f1(
    expected: float | None, current: Confusion, rule: Rule, *, expected_error: float = 0.0,
) -> Outcome:
    """The drop of macro-F1 below the champion's; `expected` is None when it was never evaluated on this slice."""
    rows, known = sum(current.values()), int(expected is not None)
    lacking = _lacking(rows, known, rule)
    if lacking or expected is None:
        return _insufficient(lacking, rows, known)
    drop, test = f1_drop(expected, macro_f1(current), expected_error=expected_error)
    return _judged(drop, test.p_value, rule, rows=rows, reference_rows=known, what="drop of macro-F1")


def _lacking(rows: int, known: int, rule: Rule) -> str:
    if known == 0:
        return "no reference for this slice"
    if rows == 0:
        return "no rows in the window"
    if rows < rule.min_rows:
        return f"{rows} rows in the window, {rule.min_rows} are needed"
    return ""


def _holes(rows: int, missing: int) -> str:
    share = missing / max(1, rows + missing)
    return f"{share:.0%} of the rows lack the feature, at most {MAX_MISSING_SHARE:.0%} may" \
        if share > MAX_MISSING_SHARE else ""


def _insufficient(reason: str, rows: int, known: int) -> Outcome:
    return Outcome(verdict=Verdict.INSUFFICIENT, reason=reason, rows=rows, reference_rows=known)


def _judged(effect: float, p_value: float, rule: Rule, *, rows: int, reference_rows: int, what: str) -> Outcome:
    large, beyond_chance = effect > rule.threshold, p_value <= rule.level
    size = f"{what} {effect:.3f} is {'above' if large else 'not above'} {rule.threshold:g}"
    chance = f"p {p_value:.2g} is {'at most' if beyond_chance else 'above'} {rule.level:.2g}"
    return Outcome(
        verdict=Verdict.DRIFTED if large and beyond_chance else Verdict.STABLE, reason=f"{size}, {chance}",
        rows=rows, reference_rows=reference_rows, effect=effect, p_value=p_value,
    )

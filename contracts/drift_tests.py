"""Two-sample tests over histogram counts: how likely is this difference if nothing has changed?

PSI says how large a shift is, a test says whether it can be chance. On 200 requests and 300 reference rows two equal
distributions of 8 bins have a PSI of (8 - 1)(1/200 + 1/300) = 0.06 on average (Yurdakul and Naranjo 2020, "Statistical
properties of the population stability index"), and now and then one above 0.2: the size alone raises false alarms.
Counts add up, so all of this holds for a day merged from its hours and for regions merged without their rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

_MIN_EXPECTED = 5.0  # Cochran 1954: below, the chi-squared approximation is no longer one
_TINY = 1e-300


@dataclass(frozen=True, kw_only=True)
class TestResult:
    """`statistic` in the test's own unit; `p_value` is the chance of one at least as large without a shift."""

    __test__ = False  # not for pytest to collect
    statistic: float
    p_value: float


def chi_squared(first: Sequence[int], second: Sequence[int]) -> TestResult:
    """Pearson's test of homogeneity of two histograms over the same bins or categories.

    Bins with fewer than 5 expected on either side are taken together, and with the next smallest bin when that is
    still too few. What is pooled depends on the sums of both sides only, so it favours neither. One bin left: p is 1.
    """
    _check(first, second)
    n, m = sum(first), sum(second)
    smaller = min(n, m) / (n + m)
    pairs = sorted((a + b, a, b) for a, b in zip(first, second, strict=True))
    common = [pair for pair in pairs if pair[0] * smaller >= _MIN_EXPECTED]
    pool = [sum(column) for column in zip(*(p for p in pairs if p[0] * smaller < _MIN_EXPECTED), strict=True)]
    if pool and 0 < pool[0] * smaller < _MIN_EXPECTED and common:
        pool = [a + b for a, b in zip(pool, common.pop(0), strict=True)]
    bins = [*common, *([tuple(pool)] if pool and pool[0] else [])]
    # sum of (o - e)^2 / e over both rows of the table, written without the expected counts
    statistic = sum((m * a - n * b) ** 2 / total for total, a, b in bins) / (n * m)
    return TestResult(statistic=statistic, p_value=chi_squared_sf(statistic, len(bins) - 1))


def kolmogorov_p(distance: float, n: int, m: int) -> float:
    """Chance of a two-sample distance of at least `distance` between n and m rows of one distribution."""
    root = math.sqrt(n * m / (n + m))
    scaled = distance * (root + 0.12 + 0.11 / root)
    if scaled < 0.3:  # the series alternates for long there, and the answer is 1 to nine digits
        return 1.0
    total = sum((-1) ** (k - 1) * math.exp(-2 * (k * scaled) ** 2) for k in range(1, 101))
    return min(1.0, max(0.0, 2 * total))


def normal_sf(z: float) -> float:
    """P(Z > z) of the standard normal distribution, accurate far out in the tail."""
    return 0.5 * math.erfc(z / math.sqrt(2))


def chi_squared_sf(x: float, dof: int) -> float:
    """P(X > x) of the chi-squared distribution: the regularised upper incomplete gamma function Q(dof/2, x/2).

    By its series below the mean and by Lentz's continued fraction above (Press et al., Numerical Recipes, 6.2).
    """
    if dof <= 0 or x <= 0:
        return 1.0
    a, x = dof / 2, x / 2
    front = math.exp(a * math.log(x) - x - math.lgamma(a))
    return 1.0 - front * _series(a, x) if x < a + 1 else front * _fraction(a, x)


def _series(a: float, x: float) -> float:
    term = total = 1 / a
    while term > total * 1e-16:
        a += 1
        term *= x / a
        total += term
    return total


def _fraction(a: float, x: float) -> float:
    b, c = x + 1 - a, 1 / _TINY
    d = h = 1 / b
    step, i = 0.0, 0
    while abs(step - 1) > 1e-15:
        i += 1
        factor, b = -i * (i - a), b + 2
        d = 1 / _away_from_zero(factor * d + b)
        c = _away_from_zero(b + factor / c)
        step = d * c
        h *= step
    return h


def _away_from_zero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY


def _check(first: Sequence[int], second: Sequence[int]) -> None:
    if len(first) != len(second):
        raise ValueError(f"both histograms need the same bins, got {len(first)} and {len(second)}")
    if sum(first) == 0 or sum(second) == 0:
        raise ValueError("a test needs rows on both sides; an empty window is missing data, not absence of drift")

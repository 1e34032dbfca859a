"""Does B fail more often than A? A test that may be looked at after every request, as often as one likes.

The e-value of two streams of yes/no outcomes (Turner, Ly and Grünwald 2021, "Generic E-variables for exact sequential
k-sample tests that allow for optional stopping", arXiv:2106.02693), one-sided, mixed over a grid of alternatives. While
B's rate is at most A's, the evidence is a non-negative supermartingale: it ever reaches 1/alpha with probability
alpha at most (Ville's inequality), whenever and however often somebody looks. Exact for any sample size, and the
rates may move with the hour as long as they move for both: each block is compared with itself. With one stream, the
same of its rate and a limit: `log_e_above`.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, isfinite, log

# Rates of failure that a grid point of the mixture may name. Any grid is valid; this one is coarse, for a factor of
# three between its points costs less evidence than more points would.
RATES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 0.6, 0.95)
ALTERNATIVES: tuple[tuple[float, float], ...] = tuple((a, b) for a in RATES for b in RATES if b > a)
_MAX_LOG = 700.0  # exp() of more is no float
_ABOVE = (0.05, 0.1, 0.2, 0.4, 0.7)  # how far from a limit on the way to 1 the alternatives to it lie


@dataclass(frozen=True, kw_only=True)
class Outcomes:
    """How many of how many."""

    failed: int
    of: int

    def __post_init__(self) -> None:
        if not 0 <= self.failed <= self.of:
            raise ValueError(f"failed must be 0 to {self.of}, the number of outcomes, got {self.failed}")

    def __add__(self, other: Outcomes) -> Outcomes:
        return Outcomes(failed=self.failed + other.failed, of=self.of + other.of)

    @property
    def rate(self) -> float:
        """NaN without outcomes."""
        return self.failed / self.of if self.of else float("nan")


NONE = Outcomes(failed=0, of=0)


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What the blocks so far say against "B fails at most as often as A".

    `log_e` holds one running log e-value per alternative; it is all that the next look needs.
    """

    a: Outcomes = NONE
    b: Outcomes = NONE
    log_e: tuple[float, ...] = (0.0,) * len(ALTERNATIVES)

    def __post_init__(self) -> None:
        if len(self.log_e) != len(ALTERNATIVES) or not all(map(isfinite, self.log_e)):
            raise ValueError(f"log_e must be {len(ALTERNATIVES)} finite numbers, got {len(self.log_e)}")

    def after(self, a: Outcomes, b: Outcomes) -> Evidence:
        """With one more block. How large it is may depend on the blocks before it, and on its own outcomes only in a
        way that is the same for both sides: a look every 30 s is such a cut.

        A block that only one side has says nothing: there is nothing to compare it with.
        """
        grown = zip(self.log_e, ALTERNATIVES, strict=True)
        return Evidence(a=self.a + a, b=self.b + b,
                        log_e=tuple(e + _log_e(a, b, alternative) for e, alternative in grown))

    @property
    def log_value(self) -> float:
        """Log of the mixture's e-value; all alternatives weigh the same."""
        largest = max(self.log_e)
        return largest + log(sum(exp(e - largest) for e in self.log_e) / len(self.log_e))

    def worse_beyond_doubt(self, alpha: float) -> bool:
        """Whether B fails more often than A. Wrong with probability `alpha` at most over all looks together."""
        return self.log_value >= _log_limit(alpha)

    @property
    def excess(self) -> float:
        """B's rate of failure less A's; NaN while either has no outcome."""
        return self.b.rate - self.a.rate


def log_e_above(seen: Outcomes, limit: float) -> float:
    """Log e-value of what was seen so far against "it fails in at most `limit` of the cases".

    The likelihood of alternatives between the limit and 1 over that of the limit itself, where its expectation is one
    and larger than at any rate below. So this one, too, may be looked at any time, and totals are all that it needs.
    """
    if not 0 < limit < 1:
        raise ValueError(f"limit must be between 0 and 1, got {limit}")
    gains = [_gain(seen, limit + share * (1 - limit), limit) for share in _ABOVE]
    largest = max(gains)
    return largest + log(sum(exp(gain - largest) for gain in gains) / len(gains))


def above_beyond_doubt(seen: Outcomes, limit: float, alpha: float) -> bool:
    """Whether it fails in more than `limit` of the cases; wrong with probability `alpha` at most, over all looks."""
    return log_e_above(seen, limit) >= _log_limit(alpha)


def e_value(log_value: float, alpha: float) -> str:
    """For people: the evidence, and how much was needed."""
    return f"e-value {exp(min(log_value, _MAX_LOG)):.3g} (limit {1 / alpha:.0f})"


def _log_limit(alpha: float) -> float:
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must be between 0 and 1, got {alpha}")
    return -log(alpha)


def _log_e(a: Outcomes, b: Outcomes, alternative: tuple[float, float]) -> float:
    """Log likelihood of the alternative over the null that is nearest to it: one rate for both, weighted by size.

    With that rate the e-value's expectation is at most exp(c (rate of B - rate of A)), c > 0, for every pair of
    rates: at most 1 while B's is not the larger.
    """
    if not a.of or not b.of:
        return 0.0
    rate_a, rate_b = alternative
    null = (a.of * rate_a + b.of * rate_b) / (a.of + b.of)
    return _gain(a, rate_a, null) + _gain(b, rate_b, null)


def _gain(seen: Outcomes, rate: float, null: float) -> float:
    return seen.failed * log(rate / null) + (seen.of - seen.failed) * log((1 - rate) / (1 - null))


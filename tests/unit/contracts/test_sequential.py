"""The always-valid test: false alarms under peeking, power, and answers that can be worked out by hand."""

from __future__ import annotations

import random
from math import exp, log

import pytest

from contracts.sequential import ALTERNATIVES, Evidence, Outcomes, above_beyond_doubt, log_e_above

SHARE = 0.1  # of the traffic that a canary gets


def outcomes(failed: int, of: int) -> Outcomes:
    return Outcomes(failed=failed, of=of)


def requests_until_sure(rng: random.Random, *, a: float, b: float, alpha: float, requests: int, block: int,
                        share: float = SHARE) -> int | None:
    """Look after every `block` requests; how many it took to call B worse, None when it never was."""
    evidence = Evidence()
    for seen in range(block, requests + 1, block):
        to_b = sum(rng.random() < share for _ in range(block))
        evidence = evidence.after(outcomes(sum(rng.random() < a for _ in range(block - to_b)), block - to_b),
                                  outcomes(sum(rng.random() < b for _ in range(to_b)), to_b))
        if evidence.worse_beyond_doubt(alpha):
            return seen
    return None


@pytest.mark.parametrize("rate", [0.02, 0.3])
def test_somebody_who_peeks_all_the_time_is_fooled_at_most_as_often_as_alpha_says(rate: float) -> None:
    rng, alpha, runs = random.Random(7), 0.2, 120
    fooled = sum(requests_until_sure(rng, a=rate, b=rate, alpha=alpha, requests=400, block=4, share=0.3) is not None
                 for _ in range(runs))
    assert fooled <= alpha * runs


def test_a_better_candidate_is_never_called_worse() -> None:
    rng = random.Random(11)
    assert all(requests_until_sure(rng, a=0.2, b=0.1, alpha=0.2, requests=400, block=4, share=0.3) is None
               for _ in range(40))


def test_a_rate_that_moves_with_the_hour_for_both_fools_nobody() -> None:
    """A thousand quiet requests and then a bad hour, in which more of the traffic goes to B."""
    rng, evidence = random.Random(3), Evidence()
    for rate, share in ((0.01, 0.1), (0.4, 0.5)):
        for _ in range(100):
            to_b = sum(rng.random() < share for _ in range(10))
            evidence = evidence.after(outcomes(sum(rng.random() < rate for _ in range(10 - to_b)), 10 - to_b),
                                      outcomes(sum(rng.random() < rate for _ in range(to_b)), to_b))
    assert evidence.excess > 0.05, "pooled, B looks worse"
    assert not evidence.worse_beyond_doubt(0.2)


@pytest.mark.parametrize(("a", "b", "within"), [(0.0, 1.0, 300), (0.01, 0.5, 800), (0.005, 0.05, 12_000)])
def test_a_clear_worsening_is_found_within_so_many_requests(a: float, b: float, within: int) -> None:
    rng = random.Random(5)
    assert all(requests_until_sure(rng, a=a, b=b, alpha=0.01 / 9, requests=within, block=20) for _ in range(10))


def test_the_e_value_of_one_block_by_hand() -> None:
    """One of one fails at B, none of one at A: an alternative (a, b) with mean m bets (1 - a) b against (1 - m) m."""
    evidence = Evidence().after(outcomes(0, 1), outcomes(1, 1))
    means = [(a, b, (a + b) / 2) for a, b in ALTERNATIVES]
    wanted = sum((1 - a) * b / ((1 - m) * m) for a, b, m in means) / len(means)
    assert evidence.log_value == pytest.approx(log(wanted))


def test_the_expectation_is_at_most_one_while_b_is_no_worse() -> None:
    """Exact, over every outcome of a block of three and two, and exactly one on average at the boundary or below."""
    for rate_a, rate_b in ((0.3, 0.3), (0.05, 0.05), (0.3, 0.1), (0.9, 0.9)):
        mean = [0.0] * len(ALTERNATIVES)
        for failed_a, ways_a in enumerate((1, 3, 3, 1)):
            for failed_b, ways_b in enumerate((1, 2, 1)):
                chance = (ways_a * rate_a**failed_a * (1 - rate_a) ** (3 - failed_a)
                          * ways_b * rate_b**failed_b * (1 - rate_b) ** (2 - failed_b))
                evidence = Evidence().after(outcomes(failed_a, 3), outcomes(failed_b, 2))
                mean = [m + chance * 2.718281828459045**e for m, e in zip(mean, evidence.log_e, strict=True)]
        assert max(mean) <= 1 + 1e-9


def test_a_block_that_only_one_side_has_says_nothing() -> None:
    evidence = Evidence().after(outcomes(0, 0), outcomes(50, 50)).after(outcomes(0, 500), outcomes(0, 0))
    assert evidence.log_value == pytest.approx(0.0)
    assert evidence.b == outcomes(50, 50)


def ever_above(rng: random.Random, *, rate: float, limit: float, alpha: float, requests: int) -> int | None:
    failed = 0
    for of in range(1, requests + 1):
        failed += rng.random() < rate
        if above_beyond_doubt(outcomes(failed, of), limit, alpha):
            return of
    return None


@pytest.mark.parametrize("rate", [0.15, 0.05])
def test_a_rate_within_its_limit_is_called_above_it_at_most_as_often_as_alpha_says(rate: float) -> None:
    rng, alpha, runs = random.Random(13), 0.2, 120
    assert sum(ever_above(rng, rate=rate, limit=0.15, alpha=alpha, requests=300) is not None
               for _ in range(runs)) <= alpha * runs


@pytest.mark.parametrize(("rate", "within"), [(1.0, 10), (0.5, 60), (0.25, 900)])
def test_a_rate_beyond_its_limit_is_found_within_so_many_requests(rate: float, within: int) -> None:
    rng = random.Random(17)
    assert all(ever_above(rng, rate=rate, limit=0.15, alpha=0.01 / 12, requests=within) for _ in range(10))


def test_the_expectation_of_one_outcome_is_one_at_the_limit_and_less_below() -> None:
    def mean(rate: float) -> float:
        return rate * exp(log_e_above(outcomes(1, 1), 0.15)) + (1 - rate) * exp(log_e_above(outcomes(0, 1), 0.15))

    assert mean(0.15) == pytest.approx(1.0)
    assert mean(0.1) < 1.0


def test_what_is_wrong_is_named() -> None:
    with pytest.raises(ValueError, match="limit must be between 0 and 1, got 0"):
        log_e_above(outcomes(0, 1), 0)
    with pytest.raises(ValueError, match="failed must be 0 to 3, the number of outcomes, got 4"):
        outcomes(4, 3)
    with pytest.raises(ValueError, match="alpha must be between 0 and 1, got 1"):
        Evidence().worse_beyond_doubt(1)
    with pytest.raises(ValueError, match="28 finite numbers, got 1"):
        Evidence(log_e=(0.0,))

"""canary_power: how many canaries that are no worse are aborted under constant looks, and how soon worse ones are.

    python -m benchmarks.canary_power [--canaries 1000] [--trials 500]

Simulated answers, the test of contracts.sequential with the intent classifier's contract: a look every 100 requests, of
which the canary gets its share, `alpha` over the nine tests of counts (and the three of agreement in a shadow). Peer:
the two-proportion z-test at the same `alpha`, looked at as often. It is made for one look. What the contract tolerates
spares some that are no worse; it is left out for them, on both sides.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from math import erfc, sqrt

import numpy as np

from benchmarks import common
from contracts.sequential import Evidence, Outcomes, above_beyond_doubt
from contracts.stories.intent_classifier import INTENT_CLASSIFIER
from lambdas.canary_judge.logic import TESTS, alpha_of_each

SERVING = INTENT_CLASSIFIER.serving
TEST, CANARY, SHADOW = SERVING.canary_test, SERVING.canary, SERVING.shadow
LOOK_EVERY, LOOKS = 100, 50  # requests; looks at a canary that is no worse
PAIRS = 10  # new pairs of answers at a look at a shadow
NO_WORSE = (0.001, 0.01, 0.05)  # rate of both
WORSE = ((0.001, 1.0), (0.001, 0.1), (0.001, 0.02), (0.01, 0.2), (0.01, 0.05), (0.01, 0.03))
DIFFER = (1.0, 0.5, 0.3, 0.25, 0.2)
ENOUGH = 1_000  # looks after which nobody waits any longer

Rng = np.random.Generator


def blocks(champion: float, candidate: float, rng: Rng) -> tuple[Outcomes, Outcomes]:
    """What both did between two looks."""
    of = LOOK_EVERY * CANARY.percent // 100
    return (Outcomes(failed=int(rng.binomial(LOOK_EVERY - of, champion)), of=LOOK_EVERY - of),
            Outcomes(failed=int(rng.binomial(of, candidate)), of=of))


def z_test(champion: Outcomes, candidate: Outcomes, alpha: float) -> bool:
    """One-sided, pooled."""
    pooled = (champion.failed + candidate.failed) / (champion.of + candidate.of)
    error = sqrt(pooled * (1 - pooled) * (1 / champion.of + 1 / candidate.of))
    return error > 0 and erfc((candidate.rate - champion.rate) / error / sqrt(2)) / 2 <= alpha


def aborted(rate: float, rng: Rng) -> tuple[bool, bool]:
    """(by us, by the peer): one canary that is no worse, all its tests at all its looks."""
    alpha, ours, peer = alpha_of_each(TEST, agreement=False), False, False
    for _ in TESTS:
        evidence = Evidence()
        for _ in range(LOOKS):
            evidence = evidence.after(*blocks(rate, rate, rng))
            ours = ours or evidence.worse_beyond_doubt(alpha)
            peer = peer or z_test(evidence.a, evidence.b, alpha)
    return ours, peer


def answers_until_worse(champion: float, candidate: float, rng: Rng) -> int:
    """The canary's answers until its errors abort it."""
    alpha, evidence = alpha_of_each(TEST, agreement=False), Evidence()
    for _ in range(ENOUGH):
        evidence = evidence.after(*blocks(champion, candidate, rng))
        if evidence.worse_beyond_doubt(alpha) and evidence.excess > TEST.tolerated_errors:
            break
    return evidence.b.of


def pairs_until_worse(differ: float, rng: Rng) -> int:
    """Pairs of answers until a shadow is rejected for its disagreement."""
    assert SHADOW is not None
    alpha, seen = alpha_of_each(TEST, agreement=True), Outcomes(failed=0, of=0)
    for _ in range(ENOUGH):
        seen += Outcomes(failed=int(rng.binomial(PAIRS, differ)), of=PAIRS)
        if above_beyond_doubt(seen, SHADOW.tolerated_disagreement, alpha):
            break
    return seen.of


def spread(draw: Callable[[], int], trials: int) -> dict[str, float]:
    found = [draw() for _ in range(trials)]
    return {"median": float(np.median(found)), "p95": float(np.percentile(found, 95))}


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--canaries", type=int, default=1_000, help="that are no worse, at each rate")
    parser.add_argument("--trials", type=int, default=500, help="for each row of the tables")
    args = parser.parse_args(argv)
    rng = np.random.default_rng(7)
    shares = {rate: np.mean([aborted(rate, rng) for _ in range(args.canaries)], axis=0) for rate in NO_WORSE}
    canary = [{"champion": a, "candidate": b, **spread(partial(answers_until_worse, a, b, rng), args.trials)}
              for a, b in WORSE]
    shadow = [{"differ": rate, **spread(partial(pairs_until_worse, rate, rng), args.trials)}
              for rate in DIFFER]
    for row in (*canary, *shadow):
        print(", ".join(f"{name} {value:g}" for name, value in row.items()))
    ours, peer = (float(max(found[side] for found in shares.values())) for side in (0, 1))
    common.write(
        "canary_power", unit="share of canaries aborted that are no worse", better="lower", ours=ours,
        peers={"two-proportion z-test": peer},
        limits={f"<= alpha of the contract ({TEST.alpha:g})": ours <= TEST.alpha},
        workload=f"{args.canaries} simulated canaries at each of {len(NO_WORSE)} error rates, {LOOKS} looks, "
                 f"{len(TESTS)} tests; the worst rate",
        extra={"aborted": {f"{rate:g}": [float(share) for share in found] for rate, found in shares.items()},
               "answers_until_aborted": canary, "pairs_until_rejected": shadow})


if __name__ == "__main__":
    main()

"""gate_power: how often the gates accept a candidate equal to the champion, and turn down one that is 5 points worse.

    python -m benchmarks.gate_power [--trials 1000]

Golden sets are simulated row by row in the sizes that exist: SNIPS (300 golden rows, one
safety-critical intent) and manga14 (about 2,900, three). The champion is right on 93 % of the rows;
an equal candidate differs from it on 4 % of them, half won and half lost (an assumption: more makes
both sides harder, and DISCORDANT is the place to try it). The worse candidate loses 5 points more,
spread over all intents. What is measured is the verdict of contracts.gates on the three comparisons
of evaluate.py; absolute limits are left out, for they do not know the champion. Peer: the rule
"no point estimate may be worse".
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks import common
from contracts.gates import ComparisonGate, judge
from contracts.stories.intent_classifier import GATES
from contracts.taxonomies import MANGA14_V1, SNIPS_V1, Taxonomy
from model_code.intent_classifier.evaluate import comparison_of
from model_code.intent_classifier.rows import Example

CHAMPION_ACCURACY = 0.93
DISCORDANT = 0.04  # share of rows on which two equal models differ
WORSE_BY = 0.05
COMPARISONS = tuple(gate for gate in GATES if isinstance(gate, ComparisonGate))


@dataclass(frozen=True, kw_only=True)
class GoldenSet:
    taxonomy: Taxonomy
    rows: int
    suite_rows: int

    def examples(self) -> list[Example]:
        labels = self.taxonomy.labels
        return [Example(id=str(i), text="", label=labels[i % len(labels)], language="en") for i in range(self.rows)]


SETS = (
    GoldenSet(taxonomy=SNIPS_V1, rows=300, suite_rows=300),
    GoldenSet(taxonomy=MANGA14_V1, rows=2_900, suite_rows=900),
)


def pair(rows: int, *, worse_by: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """(candidate, champion): right or wrong on each row, with the given expected difference."""
    champion = rng.random(rows) < CHAMPION_ACCURACY
    lose = (DISCORDANT / 2 + worse_by) / CHAMPION_ACCURACY
    win = DISCORDANT / 2 / (1 - CHAMPION_ACCURACY)
    draw = rng.random(rows)
    return np.where(champion, draw >= lose, draw < win), champion


def trial(
    golden: GoldenSet, examples: list[Example], *, worse_by: float, rng: np.random.Generator,
) -> tuple[bool, bool]:
    """(accepted by the gates, accepted by the point-estimate rule)."""
    right = pair(golden.rows, worse_by=worse_by, rng=rng)
    suite = pair(golden.suite_rows, worse_by=worse_by, rng=rng)
    comparison = comparison_of(golden.taxonomy, examples, right, suite)
    report = {"champion": {"version": "1"}, "comparison": comparison}
    verdict = judge(report, gates=COMPARISONS, taxonomy=golden.taxonomy, champion_version="1")
    by_points = all(comparison[g.comparison]["delta"] >= -g.allowed_drop for g in COMPARISONS)
    return verdict.passed, by_points


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trials", type=int, default=1_000)
    args = parser.parse_args(argv)
    shares: dict[str, float] = {}
    for golden in SETS:
        examples, rng = golden.examples(), np.random.default_rng(7)
        for name, worse_by in (("equal", 0.0), ("worse", WORSE_BY)):
            found = np.array([trial(golden, examples, worse_by=worse_by, rng=rng) for _ in range(args.trials)])
            accepted, by_points = found.mean(axis=0)
            key = f"{golden.taxonomy.name}_{name}"
            shares[f"{key}_accepted"] = float(accepted)
            shares[f"{key}_accepted_by_points"] = float(by_points)
            print(f"{golden.taxonomy.name}, {golden.rows} rows, {name}: accepted {accepted:.1%}, "
                  f"by point estimates {by_points:.1%}")
    equal = min(v for k, v in shares.items() if k.endswith("equal_accepted"))
    by_points = min(v for k, v in shares.items() if k.endswith("equal_accepted_by_points"))
    rejected = 1 - max(v for k, v in shares.items() if k.endswith("worse_accepted"))
    common.write(
        "gate_power", unit="share of equal candidates accepted", better="higher", ours=equal,
        peers={"no point estimate may be worse": by_points},
        workload=f"{args.trials} simulated pairs per case, worst of two golden sets (SNIPS, manga14)",
        limits={">= 0.95 of equal ones accepted": equal >= 0.95, ">= 0.90 of worse ones rejected": rejected >= 0.90},
        extra={"worse_rejected": rejected, "cases": shares})


if __name__ == "__main__":
    main()

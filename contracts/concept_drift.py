"""Concept drift: macro-F1 on requests whose right label came later, against the champion's own evaluation.

A confusion is a count per (right, answered) pair, so it merges like any histogram: `Counter + Counter`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from contracts.drift_tests import TestResult, normal_sf

Confusion = Mapping[tuple[str, str], int]  # (right, answered) -> requests


@dataclass(frozen=True, kw_only=True)
class F1:
    """Macro-F1 over the labels that occur, and its standard error."""

    value: float
    standard_error: float
    rows: int


def macro_f1(confusion: Confusion) -> F1:
    """Standard error by the delta method: the counts are multinomial and F1 is smooth in them.

    F1 does not change when all counts double, so its gradient g weighted with the counts sums to 0 and the variance
    is sum of count * g^2. ValueError without a row: no feedback is missing data.
    """
    rows = sum(confusion.values())
    if rows == 0:
        raise ValueError("macro-F1 needs at least one request with its right label, got none")
    hits: Counter[str] = Counter()
    seen: Counter[str] = Counter()  # as right label and as answer: the denominator of 2 hits / seen
    for (right, answered), count in confusion.items():
        seen[right] += count
        seen[answered] += count
        hits[right] += count * (right == answered)
    labels = [label for label in seen if seen[label]]
    pull = {label: 2 * hits[label] / seen[label] ** 2 for label in labels}  # what one more in `seen` takes away
    variance = 0.0
    for (right, answered), count in confusion.items():
        if count:
            gain = 2 / seen[right] if right == answered else 0.0
            variance += count * (gain - pull[right] - pull[answered]) ** 2
    value = sum(2 * hits[label] / seen[label] for label in labels) / len(labels)
    return F1(value=value, standard_error=math.sqrt(variance) / len(labels), rows=rows)


def f1_drop(expected: float, current: F1, *, expected_error: float = 0.0) -> tuple[float, TestResult]:
    """(drop, one-sided test that there is one). `expected_error` is the standard error of the champion's own F1.

    A window without a single mistake has a standard error of 0; half a request's worth keeps the test defined.
    """
    drop = expected - current.value
    error = math.hypot(max(current.standard_error, 0.5 / current.rows), expected_error)
    return drop, TestResult(statistic=drop / error, p_value=normal_sf(drop / error))

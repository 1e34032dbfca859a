"""The champion's distributions on the golden set: what live traffic is compared with."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from contracts.drift import Reference, histogram

# PSI of two equal distributions is about (bins - 1) (1/n + 1/m): with 8 bins, 300 golden rows and
# 200 requests that is 0.06, well under the alarm at 0.2.
BINS = 8


def numeric_reference(feature: str, values: Sequence[float]) -> Reference:
    """Quantile bins, plus one below and one above all that was seen.

    A feature that is nearly constant (the share of unknown tokens is 0 for most) gets one bin per
    distinct value: quantiles would fold them into one bin, in which no shift shows.
    """
    data = np.asarray(values, dtype=float)
    if len(data) == 0 or not np.isfinite(data).all():
        raise ValueError(f"{feature}: a reference needs finite values and at least one, got {len(data)}")
    distinct = np.unique(data)
    if len(distinct) <= BINS:
        inner = [(a + b) / 2 for a, b in itertools.pairwise(distinct)]
        edges = [float(distinct[0]), *map(float, inner), math.nextafter(float(distinct[-1]), math.inf)]
    else:
        quantiles = np.quantile(data, np.linspace(0, 1, BINS + 1)[1:-1])
        edges = sorted({float(q) for q in quantiles})
    empty = Reference(feature=feature, counts=(0,) * (len(edges) + 1), edges=tuple(edges))
    counts = histogram(empty, list(map(float, data)))
    return Reference(feature=feature, counts=tuple(counts), edges=tuple(edges))


def categorical_reference(feature: str, values: Sequence[str], categories: Sequence[str]) -> Reference:
    """One bin per category in the given order, and a last one for anything else."""
    counts = Counter(values)
    known = tuple(counts[c] for c in categories)
    return Reference(feature=feature, counts=(*known, len(values) - sum(known)), categories=tuple(categories))


def references(
    rows: Sequence[Mapping[str, object]], *, numeric: Sequence[str], categories: Mapping[str, Sequence[str]],
) -> list[Reference]:
    """References of one language's rows, each row a flat mapping of feature -> value."""
    found = [numeric_reference(name, [float(row[name]) for row in rows]) for name in numeric]  # type: ignore[arg-type]
    found += [
        categorical_reference(name, [str(row[name]) for row in rows], allowed) for name, allowed in categories.items()
    ]
    return found

"""Have the embeddings moved? A two-sample test from sums that merge, without keeping a single vector.

Each embedding x becomes cos and sin of x.w at a few fixed random frequencies w: its empirical characteristic function.
The squared distance of two windows' means is the Gaussian kernel's MMD at these frequencies (Rahimi and Recht 2007,
"Random Features for Large-Scale Kernel Machines"). Divided by its covariance it has a known null, so no rows have to be
permuted for a p-value (Chwialkowski, Ramdas, Sejdinovic and Gretton 2015, "Fast Two-Sample Testing with Analytic
Representations of Probability Measures", arXiv:1506.04725; with Hotelling's F in place of their chi-squared, which
doubles the false alarms of windows of 400 rows). PSI of each coordinate would miss a turn of the space; an energy
statistic has no null in closed form.

Everything is counted in whole numbers: embeddings, frequencies and features are rounded to fixed steps, so sums are
exact and a merge of hours or regions equals one pass over all rows, bit by bit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import fdtrc

from contracts.drift_tests import TestResult

FREQUENCIES = 16
CHUNK = 8_192
MIN_ROWS = 20 * FREQUENCIES  # ten a feature: the covariance of fewer is mostly noise
_STEP = 2.0**-16  # of embeddings and frequencies: |x.w| stays a whole number below 2^53 up to 1,024 dimensions
_UNIT = 2.0**12  # of cos and sin: rounding adds 1e-4 to values whose spread is about 0.7


@dataclass(frozen=True)
class Projection:
    """Frozen with the champion: the frequencies, in steps, shape (dimensions, FREQUENCIES)."""

    frequencies: np.ndarray

    def features(self, embeddings: np.ndarray) -> np.ndarray:
        """(rows, 2 x FREQUENCIES) whole numbers in float64, cos beside sin."""
        rows = np.rint(np.asarray(embeddings, dtype=np.float64) / _STEP)
        angles = (rows @ self.frequencies) * _STEP**2
        return np.rint(np.concatenate([np.cos(angles), np.sin(angles)], axis=1) * _UNIT)


def projection_of(reference: np.ndarray, *, seed: int) -> Projection:
    """Frequencies of a Gaussian kernel whose width is the reference's median distance (the usual heuristic).

    ValueError when the reference is too small or holds one point only.
    """
    if len(reference) < MIN_ROWS:
        raise ValueError(f"an embedding reference needs {MIN_ROWS} rows or more, got {len(reference)}")
    rng = np.random.default_rng(seed)
    some = reference[rng.choice(len(reference), min(len(reference), 2_000), replace=False)].astype(np.float64)
    half = len(some) // 2
    width = float(np.median(np.linalg.norm(some[:half] - some[half:2 * half], axis=1)))
    if width == 0:
        raise ValueError("an embedding reference needs different vectors, got one point repeated")
    drawn = rng.normal(size=(reference.shape[1], FREQUENCIES)) / width
    return Projection(np.rint(drawn / _STEP))


@dataclass(frozen=True)
class EmbeddingSums:
    """Of one window: rows, sum of features, sum of their outer products; int64 in steps of 2^-12 and 2^-24."""

    rows: int
    first: np.ndarray
    second: np.ndarray

    def merge(self, other: EmbeddingSums) -> EmbeddingSums:
        if self.first.shape != other.first.shape:
            raise ValueError(f"only sums over one projection merge, got {self.first.shape} and {other.first.shape}")
        return EmbeddingSums(self.rows + other.rows, self.first + other.first, self.second + other.second)

    def mean(self) -> np.ndarray:
        return self.first / (self.rows * _UNIT)

    def scatter(self) -> np.ndarray:
        """Sum of squared deviations from the window's own mean."""
        mean = self.mean()
        return np.asarray(self.second / _UNIT**2 - self.rows * np.outer(mean, mean))


def sums(embeddings: np.ndarray, projection: Projection) -> EmbeddingSums:
    """One pass over embeddings of shape (rows, dimensions), L2-normalised or at least below 32 in size.

    ValueError for vectors of another size or with NaN: they would poison every window they merge into.
    """
    dimensions = projection.frequencies.shape[0]
    if embeddings.ndim != 2 or embeddings.shape[1] != dimensions:
        raise ValueError(f"embeddings must have the shape (rows, {dimensions}), got {embeddings.shape}")
    if not np.isfinite(embeddings).all() or (len(embeddings) and float(np.abs(embeddings).max()) >= 32):
        raise ValueError("embeddings must be finite and below 32 in every coordinate; normalise them first")
    size = 2 * FREQUENCIES
    first, second = np.zeros(size, dtype=np.int64), np.zeros((size, size), dtype=np.int64)
    for start in range(0, len(embeddings), CHUNK):
        features = projection.features(embeddings[start:start + CHUNK])
        first += features.sum(axis=0).astype(np.int64)
        second += (features.T @ features).astype(np.int64)  # exact: below 2^53
    return EmbeddingSums(len(embeddings), first, second)


def embedding_test(reference: EmbeddingSums, current: EmbeddingSums) -> tuple[float, TestResult]:
    """(unbiased squared MMD at the frequencies, Hotelling's T-squared with its p-value by F).

    ValueError when a side has too few rows.
    """
    if min(reference.rows, current.rows) < MIN_ROWS:
        raise ValueError(f"an embedding test needs {MIN_ROWS} rows on both sides, got {reference.rows} and "
                         f"{current.rows}: fewer are missing data, not absence of drift")
    size, freedom = 2 * FREQUENCIES, reference.rows + current.rows - 2
    pooled = (reference.scatter() + current.scatter()) / freedom
    # The rounding of cos and sin as a floor: a direction in which nothing varies can't make the test ring.
    pooled += np.eye(size) / (12 * _UNIT**2)
    difference, per_row = reference.mean() - current.mean(), 1 / reference.rows + 1 / current.rows
    statistic = float(difference @ np.linalg.solve(pooled, difference)) / per_row
    ratio = statistic * (freedom - size + 1) / (freedom * size)
    mmd = float(difference @ difference - np.trace(pooled) * per_row) / FREQUENCIES
    return mmd, TestResult(statistic=statistic, p_value=float(fdtrc(size, freedom - size + 1, ratio)))

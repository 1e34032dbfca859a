"""PSI and KS for many rows x features x slices from one pass: each value falls into one of 4,096 even cells.

Even cells make the cell of a value a multiplication instead of a search, and both numbers follow from the cells: KS
from all of them, PSI from groups of them. A champion's PSI edges are laid on cell boundaries (`snapped_edges`), as the
exact smallest float of a cell, so that grouping cells and comparing values with edges count the same rows. Counts are
whole numbers: hours add up to a day and regions to the whole, exactly, in any order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from contracts.drift import SMOOTHING
from contracts.drift_tests import kolmogorov_p

CELLS = 4_096
CHUNK = 65_536  # rows: a chunk and its cell numbers stay in the second-level cache
TAIL = 0.0005  # of the reference on each side lies outside the grid, so that one outlier does not coarsen it


@dataclass(frozen=True)
class Grid:
    """Cells of one feature. 0: below; 1 to CELLS: even steps; CELLS + 1: above; CELLS + 2: missing (NaN)."""

    origin: float  # where cell 0 would begin if it were as wide as the others
    scale: float  # cells per unit

    def __post_init__(self) -> None:
        if not (math.isfinite(self.origin) and math.isfinite(self.scale) and self.scale > 0):
            raise ValueError(f"a grid needs a finite origin and a scale above 0, got {self.origin} and {self.scale}")

    def position(self, value: float) -> float:
        """Its whole part is the cell; the same operations in the same order as `_cells`."""
        return (value - self.origin) * self.scale

    def edge(self, cell: int) -> float:
        """The smallest float that falls into `cell` or above."""
        value = self.origin + cell / self.scale
        while self.position(value) >= cell:
            value = math.nextafter(value, -math.inf)
        while self.position(value) < cell:
            value = math.nextafter(value, math.inf)
        return value


def grid_of(values: np.ndarray) -> Grid:
    """Over all but the outermost thousandth of the reference's values; NaN is left out. ValueError without a value."""
    known = values[np.isfinite(values)]
    if len(known) == 0:
        raise ValueError(f"a grid needs at least one finite value, got {len(values)} rows without one")
    low, high = (float(q) for q in np.quantile(known, (TAIL, 1 - TAIL)))
    # a constant feature: unit steps around it, wide enough that the step is a normal float beside the value
    width = high - low if high - low > abs(low) * 1e-9 else max(1.0, abs(low))
    scale = CELLS / (width * (1 + 1e-9))
    return Grid(origin=low - 1 / scale, scale=scale)


@dataclass(frozen=True)
class Histograms:
    """`counts`: int64, shape (slices, features, CELLS + 3). One window of one place; windows and places add up."""

    grids: tuple[Grid, ...]
    counts: np.ndarray

    def merge(self, other: Histograms) -> Histograms:
        if self.grids != other.grids or self.counts.shape != other.counts.shape:
            raise ValueError(f"only windows over the same grids and slices merge, got shapes {self.counts.shape} and "
                             f"{other.counts.shape}: both must come from the reference of one champion")
        return Histograms(self.grids, self.counts + other.counts)

    @property
    def rows(self) -> np.ndarray:
        """Rows with a value, shape (slices, features)."""
        return np.asarray(self.counts[..., :-1].sum(axis=-1))

    @property
    def missing(self) -> np.ndarray:
        """Rows without one, shape (slices, features)."""
        return np.asarray(self.counts[..., -1])


def count(columns: Sequence[np.ndarray], slices: np.ndarray, grids: Sequence[Grid], *, n_slices: int) -> Histograms:
    """One pass over a window.

    Parameters
    ----------
    columns : one float array of shape (rows,) per feature; NaN is a missing value, infinities are below or above
    slices : int array, shape (rows,)
        The slice of each row, 0 to n_slices - 1.

    Raises
    ------
    ValueError
        Columns, grids and slices don't fit together.
    """
    rows = len(slices)
    if len(columns) != len(grids) or any(len(column) != rows for column in columns):
        raise ValueError(f"{len(grids)} grids and {rows} slice numbers need as many columns of as many rows, got "
                         f"columns of {[len(column) for column in columns]} rows")
    if rows and not 0 <= int(slices.min()) <= int(slices.max()) < n_slices:
        raise ValueError(f"slices must be 0 to {n_slices - 1}, got {int(slices.min())} to {int(slices.max())}")
    size = CELLS + 3
    first_cell = slices.astype(np.int32) * np.int32(size)
    counts = np.zeros((len(columns), n_slices * size), dtype=np.int64)
    position, cell = np.empty(CHUNK), np.empty(CHUNK, dtype=np.int32)
    for start in range(0, rows, CHUNK):
        part = slice(start, min(start + CHUNK, rows))
        for feature, (column, grid) in enumerate(zip(columns, grids, strict=True)):
            cells = _cells(column[part], grid, position, cell)
            cells += first_cell[part]
            counts[feature] += np.bincount(cells, minlength=n_slices * size)
    shaped = counts.reshape(len(columns), n_slices, size).swapaxes(0, 1)
    return Histograms(tuple(grids), np.ascontiguousarray(shaped))


def _cells(values: np.ndarray, grid: Grid, position: np.ndarray, cell: np.ndarray) -> np.ndarray:
    position, cell = position[:len(values)], cell[:len(values)]
    np.subtract(values, grid.origin, out=position)
    np.multiply(position, grid.scale, out=position)
    np.clip(position, 0.0, CELLS + 1, out=position)  # keeps NaN
    if math.isnan(position.dot(position)):  # one look at all: most windows have none, and fmin costs more
        np.fmin(position, CELLS + 2, out=position)
    np.copyto(cell, position, casting="unsafe")  # towards zero, which is down here
    return cell


def snapped_edges(reference: Histograms, feature: int, *, slice_: int, bins: int) -> tuple[int, ...]:
    """Cells at which PSI bins of about equal counts begin, in ascending order; fewer where values repeat.

    ValueError when the slice has no row: a reference can't be made of nothing.
    """
    counts = reference.counts[slice_, feature, :-1]
    total = int(counts.sum())
    if total == 0:
        raise ValueError(f"slice {slice_} has no value of feature {feature}: its reference needs at least one")
    below = np.cumsum(counts) - counts  # rows in lower cells
    wanted = [total * i / bins for i in range(1, bins)]
    cells = np.searchsorted(below, wanted, side="left")
    return tuple(sorted({int(c) for c in cells if 0 < c <= CELLS + 1}))


def binned(histograms: Histograms, feature: int, *, slice_: int, edges: Sequence[int]) -> np.ndarray:
    """Counts of the PSI bins that begin at `edges`, as contracts.drift.histogram counts them; missing is left out."""
    counts = histograms.counts[slice_, feature, :-1]
    return np.add.reduceat(counts, [0, *edges])


def psi(reference: np.ndarray, current: np.ndarray) -> np.ndarray:
    """Population stability index along the last axis, in nats. ValueError when either side has an empty histogram."""
    _both_sides(reference, current)
    p, q = (counts + SMOOTHING for counts in (reference, current))
    p, q = p / p.sum(axis=-1, keepdims=True), q / q.sum(axis=-1, keepdims=True)
    return np.asarray(((q - p) * np.log(q / p)).sum(axis=-1))


@dataclass(frozen=True)
class KolmogorovSmirnov:
    """`distance` lies at most `resolution` below the distance on the raw values, and never above it."""

    distance: float
    p_value: float
    resolution: float


def kolmogorov_smirnov(reference: np.ndarray, current: np.ndarray) -> KolmogorovSmirnov:
    """Of two cell histograms, each of shape (cells,)."""
    _both_sides(reference, current)
    n, m = int(reference.sum()), int(current.sum())
    p, q = reference / n, current / m
    distance = float(np.abs(np.cumsum(p) - np.cumsum(q)).max())
    return KolmogorovSmirnov(distance, kolmogorov_p(distance, n, m), float(np.maximum(p, q).max()))


@dataclass(frozen=True)
class FeatureDrift:
    slice_: int
    feature: int
    psi: float
    ks: KolmogorovSmirnov


def drift_pass(
    reference: Histograms, current: Histograms, edges: dict[tuple[int, int], tuple[int, ...]],
) -> list[FeatureDrift]:
    """PSI and KS of every (slice, feature) in `edges`; ValueError when one has no rows: missing data is no calm."""
    found = []
    for (slice_, feature), begins in edges.items():
        pair = [binned(h, feature, slice_=slice_, edges=begins) for h in (reference, current)]
        cells = [h.counts[slice_, feature, :-1] for h in (reference, current)]
        found.append(FeatureDrift(slice_, feature, float(psi(*pair)), kolmogorov_smirnov(*cells)))
    return found


def _both_sides(reference: np.ndarray, current: np.ndarray) -> None:
    if (reference.sum(axis=-1) == 0).any() or (current.sum(axis=-1) == 0).any():
        raise ValueError("drift needs rows on both sides; an empty window is missing data, not absence of drift")

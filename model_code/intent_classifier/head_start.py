"""A linear head in closed form: where training starts, and what serves.

A random head drags the encoder's features along while it learns; one fitted first does not (Kumar et al. 2022,
arXiv:2202.10054). What serves is fitted in the same way on other layers (early_exit.py).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from model_code.common.calibration import fit_temperature

Floats = NDArray[np.floating]


def started_head(vectors: Floats, labels: Sequence[int], *, classes: int) -> tuple[Floats, Floats]:
    """`discriminant` at the scale at which unseen rows are believed as often as they are right.

    With fewer rows than dimensions its raw scores are far too sure, and the first training steps
    would go into shrinking them. The scale is fitted on one half by a discriminant of the other.
    """
    numbers, data = np.asarray(labels), np.asarray(vectors, dtype=np.float64)
    half = np.arange(len(numbers)) % 2 == 0
    temperature = 1.0
    if len(numbers) >= 4 * classes:
        weight, bias = discriminant(data[half], numbers[half].tolist(), classes=classes)
        temperature = fit_temperature(data[~half] @ weight.T + bias, numbers[~half])
    weight, bias = discriminant(data, labels, classes=classes)
    return weight / temperature, bias / temperature


def discriminant(
    vectors: Floats, labels: Sequence[int], *, classes: int, shrinkage: float = 0.2,
) -> tuple[Floats, Floats]:
    """Linear discriminant analysis with equal priors and a covariance shrunk towards its diagonal mean.

    Parameters
    ----------
    vectors : float array, shape (rows, width)
    labels : class number of each row; a class without rows gets a zero weight and a low bias.
    shrinkage : 0 keeps the sample covariance, 1 takes a sphere.

    Returns
    -------
    weight, bias : float arrays of shapes (classes, width) and (classes,)
        `vectors @ weight.T + bias` are log-posteriors up to a constant.
    """
    numbers = np.asarray(labels)
    data = np.asarray(vectors, dtype=np.float64)
    width = data.shape[1]
    present = [c for c in range(classes) if (numbers == c).any()]
    means = {c: data[numbers == c].mean(0) for c in present}
    centred = data - np.stack([means[c] for c in numbers])
    covariance = centred.T @ centred / max(1, len(data) - len(present))
    sphere = max(np.trace(covariance) / width, 1e-9)
    covariance = (1 - shrinkage) * covariance + shrinkage * sphere * np.eye(width)
    middle = np.mean(list(means.values()), axis=0)
    weight, bias = np.zeros((classes, width)), np.full(classes, -10.0)
    directions = np.linalg.solve(covariance, np.stack([means[c] - middle for c in present], axis=1)).T
    for c, direction in zip(present, directions, strict=True):
        weight[c] = direction
        bias[c] = -direction @ (means[c] + middle) / 2
    return weight, bias


def balanced_places(labels: Sequence[int], limit: int) -> list[int]:
    """At most `limit` row numbers, the same number of each class as far as it goes, first rows first."""
    by_class: dict[int, list[int]] = {}
    for place, label in enumerate(labels):
        by_class.setdefault(label, []).append(place)
    share = max(1, limit // max(1, len(by_class)))
    return sorted(place for places in by_class.values() for place in places[:share])

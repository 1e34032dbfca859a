"""Is a confidence of 0.9 right nine times in ten? Expected calibration error, and one temperature that mends it.

The temperature is fitted on a held-out part of training, never on the golden set: a model that
tuned itself on the golden rows would be judged by its own homework.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_PRIOR_SPREAD = 0.7  # of log temperature: two thirds of models lie within a factor of two of 1

Floats = NDArray[np.floating]
Ints = NDArray[np.integer]


def softmax(logits: Floats, *, temperature: float = 1.0) -> Floats:
    scaled = logits / temperature
    scaled = scaled - scaled.max(axis=-1, keepdims=True)
    exp = np.exp(scaled)
    return exp / exp.sum(axis=-1, keepdims=True)  # type: ignore[no-any-return]


def expected_calibration_error(confidence: Floats, correct: NDArray[np.bool_], *, bins: int = 10) -> float:
    """Mean |accuracy - confidence| over equal-mass bins, weighted by rows (Nguyen & O'Connor 2015, arXiv:1508.05154).

    Equal mass, because nearly all confidences of a good classifier fall into one equal-width bin.
    """
    if len(confidence) != len(correct) or len(confidence) == 0:
        raise ValueError("needs as many confidences as answers and at least one, got "
                         f"{len(confidence)} and {len(correct)}")
    if not np.isfinite(confidence).all():
        raise ValueError("a confidence is not a finite number: the model's output is broken")
    order = np.argsort(confidence, kind="stable")
    parts = [part for part in np.array_split(order, bins) if len(part)]
    gaps = [len(p) * abs(float(correct[p].mean()) - float(confidence[p].mean())) for p in parts]
    return sum(gaps) / len(confidence)


def _loss(logits: Floats, labels: Ints, log_temperature: float) -> float:
    probabilities = softmax(logits, temperature=float(np.exp(log_temperature)))[np.arange(len(labels)), labels]
    likelihood = -float(np.log(np.maximum(probabilities, 1e-12)).sum())
    return likelihood + 0.5 * (log_temperature / _PRIOR_SPREAD) ** 2


def fit_temperature(logits: Floats, labels: Ints, *, low: float = 0.05, high: float = 20.0) -> float:
    """The most probable temperature (Guo et al. 2017, arXiv:1706.04599, with a prior around 1).

    Without the prior, forty held-out rows that are all right would ask for endless confidence.
    Golden-section search over log temperature: the loss has one minimum there. 1.0 when there are
    no rows to fit on.
    """
    if len(labels) == 0:
        return 1.0
    ratio = (5**0.5 - 1) / 2
    a, b = float(np.log(low)), float(np.log(high))
    for _ in range(40):
        c, d = b - ratio * (b - a), a + ratio * (b - a)
        if _loss(logits, labels, c) <= _loss(logits, labels, d):
            b = d
        else:
            a = c
    return float(np.exp((a + b) / 2))

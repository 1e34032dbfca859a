"""The input embeddings of a model as an int8 file beside its graph, looked up with numpy.

A vocabulary is most of a small multilingual encoder. Inside a graph it is copied for every shape
the graph is compiled for; as a memory-mapped file it is read once and shared by all of them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

CODES_FILE, SCALES_FILE = "vocabulary.npy", "vocabulary_scales.npy"


def write_table(weights: NDArray[np.floating], folder: Path) -> None:
    """Symmetric int8 with one scale a row: an error of at most 0.4 % of the row's largest value."""
    if not np.isfinite(weights).all():
        raise ValueError("an embedding weight is not a finite number: the encoder folder is broken")
    scales = np.maximum(np.abs(weights).max(axis=1, keepdims=True), 1e-12).astype(np.float32) / 127
    np.save(folder / CODES_FILE, np.rint(weights / scales).astype(np.int8))
    np.save(folder / SCALES_FILE, scales)


class VocabularyTable:
    """Token ids -> vectors, float32."""

    def __init__(self, folder: Path) -> None:
        # Plain views of the mapped files: numpy's own class for them makes each look-up slower.
        self._codes = np.asarray(np.load(folder / CODES_FILE, mmap_mode="r"))
        self._scales = np.asarray(np.load(folder / SCALES_FILE, mmap_mode="r"))

    def lookup(self, ids: NDArray[np.integer]) -> NDArray[np.float32]:
        """Shape (..., width). IndexError when an id is not in the vocabulary."""
        return self._codes[ids] * self._scales[ids]  # type: ignore[no-any-return]

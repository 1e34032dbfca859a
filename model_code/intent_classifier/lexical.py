"""Words and pieces of words beside the encoder: the wide half of a wide and deep model (Cheng et al. 2016,
arXiv:1606.07792).

A small encoder knows what a sentence is about and guesses at names it has never read; a linear model over TF-IDF
knows the very words of the training rows and nothing else. They err in different places, so their log-probabilities
add up to a better answer than either. Training fits it with scikit-learn; serving needs numpy alone.
"""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

LEXICAL_FILE = "lexical.npz"
# A word that the training rows never showed makes the linear model surer than it should be: below this it may not go.
FLOOR = 1e-4
MOST_FEATURES = 50_000  # of each kind, the most frequent ones; 1.5 MB a kind at 14 intents
_WORD = re.compile(r"\w\w+")

Floats = NDArray[np.floating]


def _normal(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()


def _coded(grams: Iterable[str], kind: int) -> list[int]:
    """A stable number for each gram, the kind in its last bit: the file needs no vocabulary of customers' words."""
    return [zlib.crc32(gram.encode()) & ~1 | kind for gram in grams]


def word_codes(text: str) -> list[int]:
    """Words of two letters or more, and pairs of neighbours."""
    words = _WORD.findall(_normal(text))
    return _coded([*words, *map(" ".join, pairwise(words))], 0)


def piece_codes(text: str) -> list[int]:
    """2 to 4 characters in a row, within what white space divides; Japanese has its words in these."""
    padded = [f" {part} " for part in _normal(text).split()]
    return _coded((part[i : i + n] for part in padded for n in (2, 3, 4) for i in range(len(part) - n + 1)), 1)


KINDS = (word_codes, piece_codes)  # each has unit length by itself: pieces are ten times as many


@dataclass(frozen=True, kw_only=True)
class LexicalModel:
    """`codes` in ascending order and `idf`, their inverse document frequencies, have shape (features,), `weights`
    (features, labels) and `bias` (labels,)."""

    codes: NDArray[np.uint32]
    idf: Floats
    weights: Floats
    bias: Floats

    def log_probabilities(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Shape (texts, labels), none below log(FLOOR)."""
        scores = np.array([self._scores(text) for text in texts], np.float64).reshape(len(texts), len(self.bias))
        scores -= scores.max(axis=1, keepdims=True, initial=-np.inf)
        scores -= np.log(np.exp(scores).sum(axis=1, keepdims=True))
        return np.maximum(scores, np.log(FLOOR)).astype(np.float32)

    def _scores(self, text: str) -> Floats:
        """Sublinear TF-IDF times the weights. In few steps: after an answer of the encoder each finds a cold cache."""
        found = np.sort(np.array(word_codes(text) + piece_codes(text), np.uint32))
        if not len(found):
            return self.bias
        starts = np.flatnonzero(np.append(True, found[1:] != found[:-1]))
        places = np.searchsorted(self.codes[:-1], found[starts])
        known = self.codes[places] == found[starts]
        places, counts = places[known], np.diff(np.append(starts, len(found)))[known]
        values, kinds = (1 + np.log(counts)) * self.idf[places], self.codes[places] & 1
        lengths = np.sqrt(np.bincount(kinds, values * values, minlength=len(KINDS)))
        return self.bias + values / lengths[kinds] @ self.weights[places]  # type: ignore[no-any-return]

    def write(self, folder: Path) -> None:
        np.savez(folder / LEXICAL_FILE, codes=self.codes, idf=self.idf.astype(np.float32),
                 weights=self.weights.astype(np.float16), bias=self.bias)

    @classmethod
    def read(cls, folder: Path) -> LexicalModel:
        with np.load(folder / LEXICAL_FILE, allow_pickle=False) as saved:
            return cls(codes=saved["codes"], idf=saved["idf"].astype(np.float64),
                       weights=saved["weights"].astype(np.float32), bias=saved["bias"])


def fit_lexical(texts: Sequence[str], labels: Sequence[int], *, classes: int) -> LexicalModel | None:
    """Multinomial logistic regression over both kinds of features; None when the rows have fewer than two labels, or no
    letters.

    Parameters
    ----------
    texts : redacted texts, as serving will see them
    labels : class number of each; a class without rows is never argued for
    """
    from scipy.sparse import hstack
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    present = sorted(set(labels))
    vectorizers = [TfidfVectorizer(analyzer=codes, sublinear_tf=True, max_features=MOST_FEATURES)
                   for codes in KINDS if any(map(codes, texts))]
    if len(present) < 2 or not vectorizers:
        return None
    rows = hstack([v.fit_transform(texts) for v in vectorizers]).tocsr()
    model = LogisticRegression(C=10, max_iter=1_000).fit(rows, list(labels))
    weights, bias = np.zeros((rows.shape[1], classes)), np.full(classes, model.intercept_.min() - 20.0)
    if len(present) == 2:  # scikit-learn keeps the second class only: the first has zeros
        weights[:, present[1]] = model.coef_[0]
        bias[present] = [0.0, model.intercept_[0]]
    else:
        weights[:, present] = model.coef_.T
        bias[present] = model.intercept_
    # scikit-learn numbers the features of each kind in the order of their codes.
    codes = np.concatenate([np.array(sorted(v.vocabulary_), np.uint32) for v in vectorizers])
    order = np.argsort(codes)
    idf = np.concatenate([v.idf_ for v in vectorizers])
    return LexicalModel(codes=codes[order], idf=idf[order], weights=weights[order], bias=bias)

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
from typing import Any

import numpy as np
from numpy.typing import NDArray

LEXICAL_FILE = "lexical.npz"
# A word that the training rows never showed makes the linear model surer than it should be: below this it may not go.
FLOOR = 1e-4
MOST_FEATURES = 50_000  # of each kind, the most frequent ones; 1.5 MB a kind at 14 intents
_WORD = re.compile(r"\w\w+")

Floats = NDArray[np.floating]
Codes = NDArray[np.uint32]


def _normal(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()


def _coded(grams: Iterable[str]) -> list[int]:
    """A stable number for each gram: the file needs no vocabulary of customers' words."""
    return [zlib.crc32(gram.encode()) for gram in grams]


def word_codes(text: str) -> list[int]:
    """Words of two letters or more, and pairs of neighbours."""
    words = _WORD.findall(_normal(text))
    return _coded([*words, *map(" ".join, pairwise(words))])


def piece_codes(text: str) -> list[int]:
    """2 to 4 characters in a row, within what white space divides; Japanese has its words in these."""
    padded = [f" {part} " for part in _normal(text).split()]
    return _coded(part[i : i + n] for part in padded for n in (2, 3, 4) for i in range(len(part) - n + 1))


KINDS = {"words": word_codes, "pieces": piece_codes}


@dataclass(frozen=True, kw_only=True)
class Table:
    """The features of one kind: codes in ascending order, shape (features,), their inverse document frequencies, and
    weights, shape (features, labels)."""

    codes: Codes
    idf: Floats
    weights: Floats

    def scores(self, found: Sequence[int]) -> Floats:
        """Shape (labels,): unit-length sublinear TF-IDF times the weights; zeros when no feature is known."""
        codes, counts = np.unique(np.array(found, np.uint32), return_counts=True)
        places = np.minimum(np.searchsorted(self.codes, codes), max(0, len(self.codes) - 1))
        known = self.codes[places] == codes if len(self.codes) else np.zeros(len(codes), bool)
        places = places[known]
        values = (1 + np.log(counts[known])) * self.idf[places]
        length = float(np.sqrt(values @ values)) or 1.0
        return values / length @ self.weights[places]  # type: ignore[no-any-return]


@dataclass(frozen=True, kw_only=True)
class LexicalModel:
    bias: Floats  # shape (labels,)
    tables: dict[str, Table]

    def log_probabilities(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Shape (texts, labels), none below log(FLOOR)."""
        scores = np.array([self.bias + sum(table.scores(KINDS[kind](text)) for kind, table in self.tables.items())
                           for text in texts], np.float64).reshape(len(texts), len(self.bias))
        scores -= scores.max(axis=1, keepdims=True, initial=-np.inf)
        scores -= np.log(np.exp(scores).sum(axis=1, keepdims=True))
        return np.maximum(scores, np.log(FLOOR)).astype(np.float32)

    def write(self, folder: Path) -> None:
        arrays: dict[str, Any] = {"bias": self.bias}
        for kind, table in self.tables.items():
            arrays |= {f"{kind}_codes": table.codes, f"{kind}_idf": table.idf.astype(np.float32),
                       f"{kind}_weights": table.weights.astype(np.float16)}
        np.savez(folder / LEXICAL_FILE, **arrays)

    @classmethod
    def read(cls, folder: Path) -> LexicalModel:
        with np.load(folder / LEXICAL_FILE, allow_pickle=False) as saved:
            tables = {
                kind: Table(codes=saved[f"{kind}_codes"], idf=saved[f"{kind}_idf"].astype(np.float64),
                            weights=saved[f"{kind}_weights"].astype(np.float32))
                for kind in KINDS if f"{kind}_codes" in saved
            }
            return cls(bias=saved["bias"], tables=tables)


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
    vectorizers = {kind: TfidfVectorizer(analyzer=codes, sublinear_tf=True, max_features=MOST_FEATURES)
                   for kind, codes in KINDS.items() if any(map(codes, texts))}
    if len(present) < 2 or not vectorizers:
        return None
    rows = hstack([v.fit_transform(texts) for v in vectorizers.values()]).tocsr()
    model = LogisticRegression(C=10, max_iter=1_000).fit(rows, list(labels))
    weights, bias = np.zeros((rows.shape[1], classes)), np.full(classes, model.intercept_.min() - 20.0)
    if len(present) == 2:  # scikit-learn keeps the second class only: the first has zeros
        weights[:, present[1]] = model.coef_[0]
        bias[present] = [0.0, model.intercept_[0]]
    else:
        weights[:, present] = model.coef_.T
        bias[present] = model.intercept_
    tables, start = {}, 0
    for kind, vectorizer in vectorizers.items():
        codes = np.array(sorted(vectorizer.vocabulary_), np.uint32)  # scikit-learn numbers them in this order
        tables[kind] = Table(codes=codes, idf=vectorizer.idf_, weights=weights[start : start + len(codes)])
        start += len(codes)
    return LexicalModel(bias=bias, tables=tables)

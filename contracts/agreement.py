"""Chance-corrected agreement of annotators: Cohen's kappa for two, Fleiss' for more, per language.

What the textbooks leave open is settled here:

- A row counts when two annotators or more labelled it; who is missing (None, or a list that ends early) is no
  disagreement. A language without such a row is absent: the caller decides what missing evidence means.
- Everybody always says one and the same label: kappa is 0/0 in the books and 1.0 here, with the note `one_label`.
- A single row: 1.0 when all agree, otherwise what the formula gives (0 for two annotators), with the note
  `single_row`. A note says that the number proves little.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from contracts.datasets import LabelRow

COHEN, FLEISS = "cohen", "fleiss"
ONE_LABEL, SINGLE_ROW = "one_label", "single_row"

Labels = Sequence[str | None]  # one row: what each annotator said, None for one who did not


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """`rows` with two labels or more, by `annotators` at most. `note` is empty, `one_label` or `single_row`."""

    language: str
    method: str
    kappa: float
    rows: int
    annotators: int
    note: str = ""


def cohen_kappa(pairs: Sequence[tuple[str, str]]) -> float:
    """Agreement of two annotators, each with its own preferences (Cohen 1960).

    Parameters
    ----------
    pairs : what the first and the second said of each row

    Returns
    -------
    float
        -1 to 1; 0 is what chance gives.

    Raises
    ------
    ValueError
        There is no pair.
    """
    if not pairs:
        raise ValueError("kappa needs at least one pair of labels, got none")
    n = len(pairs)
    observed = sum(a == b for a, b in pairs) / n
    first, second = Counter(a for a, _ in pairs), Counter(b for _, b in pairs)
    expected = sum(first[label] * second[label] for label in first) / n**2
    return 1.0 if expected == 1.0 else (observed - expected) / (1 - expected)


def fleiss_kappa(rows: Iterable[Labels]) -> float:
    """Agreement of any number of annotators, drawn from one pool (Fleiss 1971, doi:10.1037/h0031619).

    Rows may have different numbers of labels: a row's agreement is the share of its pairs of labels that are
    equal, and the pool's preferences come from all labels of the rows that count. With as many labels in
    each row this is Fleiss' own formula.

    Raises
    ------
    ValueError
        No row has two labels.
    """
    counts = [count for row in rows if (count := Counter(v for v in row if v is not None)).total() > 1]
    if not counts:
        raise ValueError("kappa needs at least one row with two labels, got none")
    observed = sum(sum(c * (c - 1) for c in count.values()) / (count.total() * (count.total() - 1))
                   for count in counts) / len(counts)
    pool = sum(counts, Counter[str]())
    expected = sum(c * c for c in pool.values()) / pool.total() ** 2
    return 1.0 if len(pool) == 1 else (observed - expected) / (1 - expected)


def agreement(language: str, rows: Iterable[Labels]) -> Agreement | None:
    """Cohen's kappa where at most two annotators were at work, otherwise Fleiss'; None without evidence."""
    counted = [list(row) for row in rows if sum(v is not None for v in row) > 1]
    if not counted:
        return None
    positions = {i for row in counted for i, v in enumerate(row) if v is not None}
    labels = {v for row in counted for v in row if v is not None}
    if len(positions) == 2:
        first, second = sorted(positions)
        method, kappa = COHEN, cohen_kappa([(str(row[first]), str(row[second])) for row in counted])
    else:
        method, kappa = FLEISS, fleiss_kappa(counted)
    note = ONE_LABEL if len(labels) == 1 else SINGLE_ROW if len(counted) == 1 else ""
    return Agreement(language=language, method=method, kappa=kappa, rows=len(counted), annotators=len(positions),
                     note=note)


def agreement_by_language(rows: Iterable[LabelRow]) -> dict[str, Agreement]:
    by_language: dict[str, list[Labels]] = {}
    for row in rows:
        by_language.setdefault(row.language, []).append(row.annotator_labels)
    found = (agreement(language, labels) for language, labels in sorted(by_language.items()))
    return {one.language: one for one in found if one is not None}


def kappa_by_language(rows: Iterable[LabelRow]) -> dict[str, float]:
    return {language: one.kappa for language, one in agreement_by_language(rows).items()}

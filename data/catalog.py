"""The data sets that a run can be started on, by name or as somebody's own file.

The named ones come with made customers (data.customers), and with the history of those for the feature store.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from contracts.datasets import declared_taxonomy, validate_lines
from contracts.taxonomies import MANGA14_V1, SNIPS_V1
from data import customers, manga14, snips
from data.lines import write_lines
from data.packages import BIGBENCH, cache_dir

Kind = Literal["real", "made", "own"]


@dataclass(frozen=True, kw_only=True)
class DataSetInfo:
    """A label file and what must be said wherever its numbers are shown.

    `history`: records of the customer-cohort feature group, JSON lines; None for a file of one's own, whose customers
    the feature store knows or does not.
    """

    name: str
    path: Path
    kind: Kind
    licence: str
    taxonomy: str
    history: Path | None = None


def load(name_or_path: str | Path, *, cache: Path | None = None) -> DataSetInfo:
    """The data set of that name, fetched or made on first use, or the label file at that path.

    Raises
    ------
    FileNotFoundError
        Neither a known name nor a file.
    contracts.datasets.LabelFileError
        The own file is empty, or its label set can't be told.
    """
    known = _KNOWN.get(str(name_or_path))
    if known is not None:
        return known(cache)
    path = Path(name_or_path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"no data set {str(name_or_path)!r}; allowed: {', '.join(_KNOWN)}, "
                                "or the path of a label file (JSON lines)")
    with path.open("rb") as lines:
        taxonomy = validate_lines(lines, file=path.name, taxonomy=declared_taxonomy(path)).taxonomy
    return DataSetInfo(name=path.stem, path=path.absolute(), kind="own", licence="yours", taxonomy=taxonomy.name)


def _snips(cache: Path | None) -> DataSetInfo:
    with snips.label_file(cache).open(encoding="utf-8") as lines:
        path, history = _with_customers(map(json.loads, lines), cache_dir(cache) / f"{SNIPS_V1.name}-customers")
    return DataSetInfo(name="snips", path=path, kind="real", licence=BIGBENCH.licence, taxonomy=SNIPS_V1.name,
                       history=history)


def _manga14(cache: Path | None) -> DataSetInfo:
    """Made anew each time: it takes half a second, and so it is never older than its templates."""
    path, history = _with_customers(manga14.generate(), cache_dir(cache) / MANGA14_V1.name)
    return DataSetInfo(name="manga14", path=path, kind="made", licence="Apache-2.0 (made by this project)",
                       taxonomy=MANGA14_V1.name, history=history)


def _with_customers(rows: Iterable[Mapping[str, object]], folder: Path) -> tuple[Path, Path]:
    made = customers.attach(rows)
    labels, history = folder / "labels.jsonl", folder / "history.jsonl"
    write_lines(made.rows, labels)
    write_lines(made.history, history)
    return labels, history


_KNOWN: dict[str, Callable[[Path | None], DataSetInfo]] = {"snips": _snips, "manga14": _manga14}
NAMES: tuple[str, ...] = tuple(_KNOWN)

"""The evidently side of drift_pass; runs in an environment of its own, without this project.

    python drift_pass_evidently.py FOLDER

FOLDER holds reference.npy and current.npy, float64 of shape (features, rows), and the language number of each row in
reference_languages.npy and current_languages.npy. Prints JSON: seconds of the report and of the tests alone.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
from evidently import DataDefinition, Dataset, Report
from evidently.legacy.calculations.stattests import ks_stat_test, psi_stat_test
from evidently.legacy.core import ColumnType
from evidently.metrics import ValueDrift


def frames(folder: Path, side: str) -> dict[int, pd.DataFrame]:
    columns, languages = np.load(folder / f"{side}.npy"), np.load(folder / f"{side}_languages.npy")
    frame = pd.DataFrame({f"f{i}": column for i, column in enumerate(columns)})
    return {int(language): frame[languages == language] for language in np.unique(languages)}


def report(reference: dict[int, pd.DataFrame], current: dict[int, pd.DataFrame]) -> None:
    """What its documentation shows: a report with a drift metric for each column, once a language."""
    for language, frame in reference.items():
        names = list(frame.columns)
        definition = DataDefinition(numerical_columns=names)
        metrics = [ValueDrift(column=name, method=method) for name in names for method in ("psi", "ks")]
        Report(metrics).run(Dataset.from_pandas(current[language], data_definition=definition),
                            Dataset.from_pandas(frame, data_definition=definition))


def tests_alone(reference: dict[int, pd.DataFrame], current: dict[int, pd.DataFrame]) -> None:
    """Its two tests on the columns, without the report around them."""
    for language, frame in reference.items():
        for name in frame.columns:
            for test in (psi_stat_test, ks_stat_test):
                test.func(frame[name], current[language][name], ColumnType.Numerical, 0.1)


def main() -> None:
    folder = Path(sys.argv[1])
    reference, current = frames(folder, "reference"), frames(folder, "current")
    seconds = {}
    for name, run in (("tests", tests_alone), ("report", report)):
        started = time.perf_counter()
        run(reference, current)
        seconds[name] = time.perf_counter() - started
    print(json.dumps(seconds))


if __name__ == "__main__":
    main()

"""drift_pass_seconds: PSI and KS of 1M rows x 20 features x 3 languages, from raw columns, on one thread.

    python -m benchmarks.drift_pass [--rows 1000000] [--features 20] [--repeats 5]

Both sides have that many rows, normal, log-normal and bounded features by turns, and the current side is shifted in
some. Ours counts both sides from raw values, although the reference is frozen as counts in production; that time is
in the result as `frozen_reference_s`. Peers, on the same data in the same run:

- evidently, pinned, in an environment of its own below build/ (made on the first run): its report with a drift metric
  for each column, once a language, and its two tests alone without the report. The report runs once, whole.
- scipy's ks_2samp and numpy's searchsorted with the PSI formula, once, whole.

The peers' edges and exact KS also check us: PSI within 1e-9, KS within its stated resolution.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Sequence
from pathlib import Path

for _threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_threads] = "1"  # before numpy is imported; the peer's process inherits it

import numpy as np  # noqa: E402
from scipy.stats import ks_2samp  # noqa: E402

from benchmarks import common  # noqa: E402
from contracts.drift import psi as plain_psi  # noqa: E402
from model_code.common import drift_statistics as ds  # noqa: E402

LANGUAGES, BINS = 3, 10
# evidently 0.7.23 imports a function that pandas 3 no longer has, hence the second pin.
PEER_PINS = ("evidently==0.7.23", "pandas==2.3.3", "numpy==2.4.6", "scipy==1.17.1")
PEER_ENVIRONMENT = common.ROOT / "build" / "bench_environments" / "evidently"
PEER_SCRIPT = Path(__file__).with_name("drift_pass_evidently.py")
Side = tuple[np.ndarray, np.ndarray]  # (features, rows) and the language number of each row


def side(rows: int, features: int, *, moved: bool, seed: int) -> Side:
    rng = np.random.default_rng(seed)
    columns = np.empty((features, rows))
    for i in range(features):
        shift = 0.02 * (i % 5) if moved else 0.0
        normal = rng.normal(shift, 1.0, rows)
        columns[i] = (normal, np.exp(normal), 1 / (1 + np.exp(-normal)))[i % 3]
    return columns, rng.choice(LANGUAGES, rows, p=(0.5, 0.4, 0.1))


def ours(reference: Side, current: Side, grids: Sequence[ds.Grid]) -> tuple[list[ds.FeatureDrift], dict]:
    before, after = (ds.count(list(c), lang, grids, n_slices=LANGUAGES) for c, lang in (reference, current))
    edges = {(lang, i): ds.snapped_edges(before, i, slice_=lang, bins=BINS)
             for lang in range(LANGUAGES) for i in range(len(grids))}
    return ds.drift_pass(before, after, edges), edges


def frozen(reference: ds.Histograms, current: Side, edges: dict) -> None:
    ds.drift_pass(reference, ds.count(list(current[0]), current[1], reference.grids, n_slices=LANGUAGES), edges)


def scipy_pass(reference: Side, current: Side, edges: dict[tuple[int, int], list[float]]) -> dict:
    """(language, feature) -> (PSI, KS distance): searchsorted, bincount, the formula, ks_2samp."""
    found = {}
    for (lang, i), inner in edges.items():
        values = [columns[i][languages == lang] for columns, languages in (reference, current)]
        counts = [np.bincount(np.searchsorted(inner, v, side="right"), minlength=len(inner) + 1) for v in values]
        found[lang, i] = plain_psi(*([int(n) for n in c] for c in counts)), float(ks_2samp(*values).statistic)
    return found


def evidently_seconds(reference: Side, current: Side) -> dict[str, float]:
    python = PEER_ENVIRONMENT / "bin" / "python"
    pins = PEER_ENVIRONMENT / "pins.txt"
    if not pins.exists() or pins.read_text("utf-8").split() != list(PEER_PINS):
        print(f"making {PEER_ENVIRONMENT} with {', '.join(PEER_PINS)} (a gigabyte, once)", flush=True)
        venv.create(PEER_ENVIRONMENT, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "-q", "--disable-pip-version-check", *PEER_PINS], check=True)
        pins.write_text("\n".join(PEER_PINS), "utf-8")
    with tempfile.TemporaryDirectory() as folder:
        for name, (columns, languages) in (("reference", reference), ("current", current)):
            np.save(f"{folder}/{name}.npy", columns)
            np.save(f"{folder}/{name}_languages.npy", languages)
        done = subprocess.run([python, "-W", "ignore", PEER_SCRIPT, folder], check=True, capture_output=True, text=True,
                              env={**os.environ, "DO_NOT_TRACK": "1"})
    return {name: float(value) for name, value in json.loads(done.stdout.splitlines()[-1]).items()}


def best(call: object, repeats: int) -> float:
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        call()  # type: ignore[operator]
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--features", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args(argv)
    reference, current = (side(args.rows, args.features, moved=moved, seed=11 + moved) for moved in (False, True))
    grids = [ds.grid_of(column) for column in reference[0]]
    found, cells = ours(reference, current, grids)
    seconds = best(lambda: ours(reference, current, grids), args.repeats)
    counted = ds.count(list(reference[0]), reference[1], grids, n_slices=LANGUAGES)
    frozen_s = best(lambda: frozen(counted, current, cells), args.repeats)
    print(f"ours {seconds:.3f} s, against a frozen reference {frozen_s:.3f} s", flush=True)
    edges = {key: [grids[key[1]].edge(c) for c in inner] for key, inner in cells.items()}
    started = time.perf_counter()
    plain = scipy_pass(reference, current, edges)
    scipy_s = time.perf_counter() - started
    peer = evidently_seconds(reference, current)
    worst_psi = max(abs(f.psi - plain[f.slice_, f.feature][0]) for f in found)
    below = [plain[f.slice_, f.feature][1] - f.ks.distance for f in found]
    within = all(-1e-9 <= gap <= f.ks.resolution + 1e-9 for gap, f in zip(below, found, strict=True))
    common.write(
        "drift_pass_seconds", unit="s", better="lower", ours=seconds,
        peers={"numpy and scipy": scipy_s, "evidently report": peer["report"], "evidently tests alone": peer["tests"]},
        workload=f"{args.rows} rows a side x {args.features} features x {LANGUAGES} languages, PSI and KS, one thread; "
                 f"ours best of {args.repeats}, peers once and whole; pins {', '.join(PEER_PINS)}",
        limits={">= 300 x evidently": peer["report"] >= 300 * seconds,
                ">= 5 x numpy and scipy": scipy_s >= 5 * seconds,
                "PSI within 1e-9 of a plain reference": worst_psi <= 1e-9,
                "KS within its resolution": within},
        extra={"times_evidently": peer["report"] / seconds, "times_evidently_tests_alone": peer["tests"] / seconds,
               "times_scipy": scipy_s / seconds, "frozen_reference_s": frozen_s, "worst_psi_error": worst_psi,
               "largest_ks_gap": max(below), "numpy": np.__version__, "python": sys.version.split()[0]})


if __name__ == "__main__":
    main()

"""pit_join_seconds: the point-in-time join of model_code/common/point_in_time.py beside pandas, polars and DuckDB.

    python -m benchmarks.pit_join [--rounds 2]

1M labels x 10M feature rows x 50k entities, neither sorted: half a year of rows, each arriving within five minutes,
three in a hundred up to a week late, five in a hundred correcting another row (same entity and event time, an
arrival of their own); time to live 30 days. Every contestant does the whole of it: newest event among what had
happened *and* arrived, ties by ingestion time, time to live, one answer per label in the labels' order. Their answers
are compared and must be equal.
(No two rows tie in entity and both times, so the last resort of the definition is never needed: the peers leave it
out, ours looks for such ties all the same.)

Entities are integers, which all peers join faster than text. The tables lie in memory as each contestant has them
(Arrow, which polars and DuckDB read as it is; pandas' own frame). Each run is a process of its own, all may use the
same number of threads (ours uses one of them), the contestants take turns and the best run of each counts.
Memory is the growth of the peak resident size over the size with the tables loaded.

pandas and polars sort by the time a row is known from, drop rows below a newer one (running maximum) and join as of
the label's time by entity; polars was slower with labels and rows in one sort, as ours does it. DuckDB does the same
by window functions and ASOF JOIN; an inequality join with arg_max took 1.4 to 1.8 times its processor time.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa

from benchmarks import common
from model_code.common.point_in_time import join
from model_code.common.point_in_time_definition import PointInTime

NAME = "pit_join_seconds"
THREADS = min(2, os.cpu_count() or 1)
LABELS, ROWS, ENTITIES = 1_000_000, 10_000_000, 50_000
LIMIT_RATIO, LIMIT_GB = 1.3, 1.5
SECOND = 1_000_000  # in microseconds, as all times here
DAY = 86_400 * SECOND
TTL = timedelta(days=30)
DEFINITION = PointInTime(entity="customer", label_time="asked_at", event_time="happened_at",
                         ingestion_time="arrived_at", features=("orders", "spend"), ttl=TTL)
JOINED = DEFINITION.joined_columns

# A contestant takes (labels, features) as it has them and gives the joined columns in the labels' order.
Answer = Callable[[], pa.Table]


def tables(labels: int, rows: int, entities: int) -> tuple[pa.Table, pa.Table]:
    rng = np.random.default_rng(11)
    instant = pa.timestamp("us", "UTC")
    start = 1_767_225_600 * SECOND  # 2026-01-01
    event = start + rng.integers(0, 180 * DAY, rows) // SECOND * SECOND
    customer = rng.integers(0, entities, rows)
    corrects = 1 + np.flatnonzero(rng.random(rows - 1) < 0.05)
    customer[corrects], event[corrects] = customer[corrects - 1], event[corrects - 1]
    arrival = event + rng.integers(0, 300 * SECOND, rows)
    late = rng.random(rows) < 0.03
    arrival[late] += rng.integers(0, 7 * DAY, late.sum())
    asked = start + rng.integers(0, 180 * DAY, labels)
    return (
        pa.table({"customer": rng.integers(0, entities, labels), "asked_at": pa.array(asked).cast(instant)}),
        pa.table({"customer": customer, "happened_at": pa.array(event).cast(instant),
                  "arrived_at": pa.array(arrival).cast(instant), "orders": rng.integers(0, 1_000, rows),
                  "spend": rng.random(rows)}))


def ours(labels: pa.Table, features: pa.Table) -> Answer:
    pa.set_cpu_count(THREADS)
    return lambda: join(labels, features, DEFINITION).select(JOINED)


def pandas(labels: pa.Table, features: pa.Table) -> Answer:
    import pandas as pd

    asked, rows = labels.to_pandas(), features.to_pandas()

    def run() -> pa.Table:
        known = rows.assign(known=rows[["happened_at", "arrived_at"]].max(axis=1))
        known = known.sort_values(["known", "happened_at", "arrived_at"])
        known = known[known["happened_at"] == known.groupby("customer")["happened_at"].cummax()]
        placed = asked.assign(place=np.arange(len(asked))).sort_values("asked_at")
        found = pd.merge_asof(placed, known, left_on="asked_at", right_on="known", by="customer").sort_values("place")
        fresh = found["asked_at"] - found["happened_at"] <= TTL
        return pa.Table.from_pandas(found[list(JOINED)].where(fresh), preserve_index=False)

    return run


def polars(labels: pa.Table, features: pa.Table) -> Answer:
    import polars as pl

    asked, rows = pl.from_arrow(labels), pl.from_arrow(features)
    assert isinstance(asked, pl.DataFrame)
    assert isinstance(rows, pl.DataFrame)

    def run() -> pa.Table:
        known = (
            rows.lazy().with_columns(known=pl.max_horizontal("happened_at", "arrived_at"))
            .sort("known", "happened_at", "arrived_at")
            .filter(pl.col("happened_at") == pl.col("happened_at").cum_max().over("customer")))
        fresh = pl.col("asked_at") - pl.col("happened_at") <= TTL
        return (
            asked.lazy().with_row_index("place").sort("asked_at")
            .join_asof(known, left_on="asked_at", right_on="known", by="customer", check_sortedness=False)
            .sort("place").select(pl.when(fresh).then(pl.col(name)).alias(name) for name in JOINED)
            .collect().to_arrow())

    return run


def duckdb(labels: pa.Table, features: pa.Table) -> Answer:
    import duckdb as duck

    database = duck.connect()
    for setting in (f"threads = {THREADS}", "timezone = 'UTC'", "enable_progress_bar = false"):
        database.execute(f"set {setting}")
    database.register("labels", labels)
    database.register("features", features)
    fresh = f"epoch_us(asked_at) - epoch_us(happened_at) <= {DEFINITION.ttl_us}"
    query = f"""
        with asked as (select *, row_number() over () as place from labels),
        known as (select *, greatest(happened_at, arrived_at) as known,
                         max(happened_at) over (partition by customer order by greatest(happened_at, arrived_at)) as top
                  from features),
        answers as (select * from known where happened_at = top
                    qualify row_number() over (partition by customer, known order by arrived_at desc) = 1)
        select {', '.join(f'case when {fresh} then {name} end as {name}' for name in JOINED)}
        from asked asof left join answers on asked.customer = answers.customer and asked.asked_at >= answers.known
        order by place"""
    return lambda: database.sql(query).to_arrow_table()


CONTESTANTS = {"ours": ours, "pandas": pandas, "polars": polars, "duckdb": duckdb}


def digest(joined: pa.Table) -> str:
    """Of the values alone: libraries differ in types and in what lies under a null."""
    state = hashlib.sha256()
    for name in JOINED:
        column = joined[name].combine_chunks()
        if pa.types.is_timestamp(column.type):
            column = column.cast(pa.timestamp("us", "UTC")).cast(pa.int64())
        state.update(column.is_null().to_numpy(zero_copy_only=False).tobytes())
        state.update(column.fill_null(0).cast(pa.float64()).to_numpy().tobytes())
    return state.hexdigest()


def contest(name: str, folder: Path) -> dict[str, Any]:
    """One run in this process; seconds by the wall and of the processor, growth of the peak resident size."""
    labels, features = (pa.ipc.open_file(pa.OSFile(str(folder / f"{side}.arrow"))).read_all()
                        for side in ("labels", "features"))
    run = CONTESTANTS[name](labels, features)
    before, processor, started = psutil.Process().memory_info().rss, time.process_time(), time.perf_counter()
    joined = run()
    seconds, processor = time.perf_counter() - started, time.process_time() - processor
    # The peak of the whole process, so loading may only make it larger, never hide a byte of the join.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return {"seconds": seconds, "processor_s": processor, "growth_gb": (peak - before) / 1e9,
            "digest": digest(joined), "unmatched": joined["orders"].null_count}


def in_a_child(name: str, folder: Path) -> dict[str, Any]:
    environment = {**os.environ, "POLARS_MAX_THREADS": str(THREADS), "OMP_NUM_THREADS": str(THREADS)}
    done = subprocess.run([sys.executable, "-m", "benchmarks.pit_join", "--contestant", name, "--tables", str(folder)],
                          cwd=common.ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(f"{name}: {found['seconds']:.2f} s, processor {found['processor_s']:.2f} s, memory +{found['growth_gb']:.2f} "
          f"GB", flush=True)
    return found


def best_runs(rounds: int, folder: Path) -> dict[str, dict[str, Any]]:
    runs = [{name: in_a_child(name, folder) for name in CONTESTANTS} for _ in range(rounds)]
    answers = {name: run[name]["digest"] for run in runs for name in CONTESTANTS}
    if len(set(answers.values())) != 1:
        raise RuntimeError(f"the contestants do not give the same rows: {answers}")
    return {name: min((run[name] for run in runs), key=lambda r: r["seconds"]) |
            {"growth_gb": max(run[name]["growth_gb"] for run in runs)} for name in CONTESTANTS}


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--contestant", choices=CONTESTANTS, help="run this one here, on --tables, and print JSON")
    parser.add_argument("--tables", type=Path)
    args = parser.parse_args(argv)
    if args.contestant:
        print(json.dumps(contest(args.contestant, args.tables)))
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for side, table in zip(("labels", "features"), tables(LABELS, ROWS, ENTITIES), strict=True):
            with pa.ipc.new_file(str(folder / f"{side}.arrow"), table.schema) as file:
                file.write_table(table)
        found = best_runs(args.rounds, folder)
    seconds = {name: run["seconds"] for name, run in found.items()}
    peers = {name: value for name, value in seconds.items() if name != "ours"}
    memory = {name: run["growth_gb"] for name, run in found.items()}
    common.write(
        NAME, unit="s", better="lower", ours=seconds["ours"], peers=peers,
        workload=f"{LABELS:,} labels x {ROWS:,} rows x {ENTITIES:,} entities, unsorted, same answers asserted, "
                 f"{THREADS} threads allowed, best of {args.rounds}",
        limits={f"<= {LIMIT_RATIO:g}x the fastest peer": seconds["ours"] <= LIMIT_RATIO * min(peers.values()),
                f"memory <= {LIMIT_GB:g} GB": memory["ours"] <= LIMIT_GB},
        extra={"memory_gb": memory, "processor_s": {name: run["processor_s"] for name, run in found.items()},
               "unmatched_labels": found["ours"]["unmatched"], "threads": THREADS})


if __name__ == "__main__":
    main()

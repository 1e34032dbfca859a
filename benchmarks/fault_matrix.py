"""fault_matrix: pairs of task and fault that hold, of those tried.

    python -m benchmarks.fault_matrix [--kinds throttled,...] [--tasks retrain/Promote,...] [--workers 2]

Every task of the deployed retrain machine and of the release machine that it runs, times every kind of fault
(tests/support/faults). After each pair: what serves is the old or the new version, whole; nothing was promoted
without a passed verdict; the trail has its end and verifies; nothing is left running; started again, the work
reaches its end.
A pair that makes no sense is listed with the rule's reason and is not counted. No peer: nobody else's number would
mean anything here.

The workers are processes with an embedded AWS each; they share the scenes among them.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import time
import traceback
from collections.abc import MutableSequence, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.common import ROOT, write
from contracts.serving import MIN_WATCH_S
from tests.support.deployment import deployed
from tests.support.faults.kinds import KINDS
from tests.support.faults.matrix import BROKEN, HELD, NOT_APPLICABLE, Matrix, Result
from tests.support.faults.scenes import SCENES, Stage, put_canary
from tests.support.faults.tasks import Machines

MARKS = {HELD: "held", BROKEN: "[red]BROKEN[/red]", NOT_APPLICABLE: "-"}


def work(folder: Path, kinds: Sequence[str], tasks: Sequence[str], share: tuple[int, int],
         results: MutableSequence[Result]) -> None:
    """One worker's share: (its number, how many there are). Results are kept as they come."""
    with deployed(folder / f"jp{share[0]}") as jp:
        stage = Stage(machines=Machines(jp))
        # What is tried is the machine, not its patience.
        put_canary(jp, bake_s=60, termination_wait_s=60, watch_s=MIN_WATCH_S)
        stage.record()
        matrix = Matrix(stage=stage, progress=lambda text: print(f"[{share[0]}] {text}", flush=True))
        matrix.rehearse()
        unreached = matrix.unreached()
        if unreached:
            raise RuntimeError(f"no scene passes {', '.join(unreached)}: add one to tests/support/faults/scenes.py")
        chosen = [task for task in stage.machines.tasks if not tasks or str(task) in tasks]
        wanted = [kind for kind in KINDS if not kinds or kind.name in kinds]
        for row in matrix.rows(wanted, chosen)[share[0]::share[1]]:
            for result in matrix.try_row(row):  # the list is another process's: it takes no generator
                results.append(result)


def shown(results: Sequence[Result]) -> Table:
    table = Table("task", *(kind.name.replace("_", " ") for kind in KINDS), title="fault matrix")
    by_pair = {(result.task, result.kind): result for result in results}
    for task in dict.fromkeys(result.task for result in results):
        found = [by_pair.get((task, kind.name)) for kind in KINDS]
        table.add_row(task, *("" if result is None else MARKS[result.state] for result in found))
    return table


def extra(results: Sequence[Result], seconds: float, workers: int) -> dict[str, Any]:
    tried = [result for result in results if result.state != NOT_APPLICABLE]
    order = {kind.name: number for number, kind in enumerate(KINDS)}
    return {
        "pairs_tried": len(tried), "pairs_held": sum(result.state == HELD for result in tried),
        "pairs_not_applicable": len(results) - len(tried), "executions": sum(1 / result.shared for result in tried),
        "seconds": round(seconds), "workers": workers, "kinds": {kind.name: kind.says for kind in KINDS},
        "scenes": [scene.name for scene in SCENES],
        "pairs": [asdict(result) for result in sorted(results, key=lambda r: (r.task, order[r.kind]))],
    }


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kinds", default="", help=f"of {', '.join(kind.name for kind in KINDS)}; all when left out")
    parser.add_argument("--tasks", default="", help="MACHINE/STATE with commas between; all when left out")
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args(argv)
    kinds, tasks = ([name for name in text.split(",") if name] for text in (arguments.kinds, arguments.tasks))
    build, began = ROOT / "build", time.monotonic()
    build.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=build, prefix=".bench-") as scratch:
        spawn = multiprocessing.get_context("spawn")
        with spawn.Manager() as manager, ProcessPoolExecutor(arguments.workers, mp_context=spawn) as pool:
            shared = manager.list()
            done = [pool.submit(work, Path(scratch), kinds, tasks, (number, arguments.workers), shared)
                    for number in range(arguments.workers)]
            stopped = [failure for failure in (each.exception() for each in done) if failure is not None]
            results = list(shared)
    for failure in stopped:
        traceback.print_exception(failure)
    Console(width=200).print(shown(results))
    found = extra(results, time.monotonic() - began, arguments.workers)
    held = 100 * found["pairs_held"] / found["pairs_tried"]
    for result in (result for result in results if result.state == BROKEN):
        print(f"BROKEN {result.task} x {result.kind}: {result.why}")
    write("fault_matrix", unit="% held", better="higher", ours=held, peers={}, extra=found,
          limits={"100 % of the pairs": held == 100, "every worker came to its end": not stopped},
          workload=f"{found['pairs_tried']} pairs of task and fault in the embedded AWS, brief training")


if __name__ == "__main__":
    main()

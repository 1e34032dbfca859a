"""lambda_cold_import_ms: what importing the slowest handler costs a cold Lambda.

    python -m benchmarks.lambda_cold_import [--runs 9]

Each handler is imported in a fresh interpreter from a folder staged as it is deployed (its own
package, lambdas/shared, contracts). Reported is the process's CPU time less that of an interpreter
that imports nothing, median of interleaved runs: an import waits for nothing, so on an idle machine
this is the wall time, and on a busy one the wall time would measure the neighbours (`wall_ms` has
it). The peer is a handler that imports Powertools' Logger, Tracer and Metrics and nothing else. What is
left to the first call is reported beside it: boto3 and one client (`first_client_ms`), and X-Ray's SDK
for an invocation that is sampled (`first_traced_ms`); both include the import itself.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from benchmarks import common
from contracts.functions import FUNCTIONS

NAME = "lambda_cold_import_ms"
LIMIT_MS = 400
NOTHING, PEER, CLIENT, TRACED = "(nothing)", "powertools_only", "(first client)", "(first traced)"
PEER_SOURCE = """from aws_lambda_powertools import Logger, Metrics, Tracer
logger = Logger(service="s")
def handler(event, context): return {}
"""
CLIENT_SOURCE = "import lambdas.lease.handler; from lambdas.shared.aws import client; client('dynamodb')"
TRACED_SOURCE = "import lambdas.lease.handler; from aws_lambda_powertools import Tracer; Tracer(service='s')"


def stage(folder: Path) -> dict[str, tuple[Path, str]]:
    """What is imported -> (folder to import it from, statement)."""
    statements: dict[str, tuple[Path, str]] = {}
    for function in FUNCTIONS.values():
        package = folder / function.name
        for source in ("contracts", "lambdas/shared", f"lambdas/{function.name}"):
            shutil.copytree(common.ROOT / source, package / source, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(common.ROOT / "lambdas" / "__init__.py", package / "lambdas")
        statements[function.name] = package, f"import {function.handler.removesuffix('.handler')}"
    peer = folder / PEER
    peer.mkdir()
    (peer / "peer.py").write_text(PEER_SOURCE)
    return statements | {
        NOTHING: (peer, "pass"), PEER: (peer, "import peer"),
        CLIENT: (folder / "lease", CLIENT_SOURCE), TRACED: (folder / "lease", TRACED_SOURCE),
    }


class Cost(NamedTuple):
    cpu_ms: float
    wall_ms: float


def cost(folder: Path, statement: str) -> Cost:
    """What one fresh interpreter takes."""
    environment = {**os.environ, "PYTHONPATH": "", "AWS_DEFAULT_REGION": "ap-northeast-1"}
    started = time.perf_counter()
    child = subprocess.Popen([sys.executable, "-c", statement], cwd=folder, env=environment)
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise RuntimeError(f"{statement!r} ended with {child.returncode}: see its error above")
    return Cost((usage.ru_utime + usage.ru_stime) * 1000, (time.perf_counter() - started) * 1000)


def measure(runs: int) -> dict[str, Cost]:
    """Median cost of each import, the bare interpreter's taken off."""
    with tempfile.TemporaryDirectory() as temporary:
        statements = stage(Path(temporary))
        for folder, statement in statements.values():
            cost(folder, statement)  # writes the bytecode, which a deployed package has as well
        costs: dict[str, list[Cost]] = {name: [] for name in statements}
        for _ in range(runs):
            for name, (folder, statement) in statements.items():
                costs[name].append(cost(folder, statement))
    medians = {name: Cost(*map(statistics.median, zip(*found, strict=True))) for name, found in costs.items()}
    bare = medians.pop(NOTHING)
    return {name: Cost(m.cpu_ms - bare.cpu_ms, m.wall_ms - bare.wall_ms) for name, m in medians.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--runs", type=int, default=9)
    measured = measure(parser.parse_args().runs)
    handlers = {name: found.cpu_ms for name, found in measured.items() if name in FUNCTIONS}
    slowest = max(handlers, key=handlers.__getitem__)
    common.write(
        NAME, unit="ms", better="lower", ours=handlers[slowest], peers={PEER: measured[PEER].cpu_ms},
        workload=f"import of the slowest of {len(handlers)} handlers ({slowest}) in a fresh interpreter",
        limits={f"<= {LIMIT_MS} ms": handlers[slowest] <= LIMIT_MS},
        extra={"wall_ms": measured[slowest].wall_ms,
               "first_client_ms": measured[CLIENT].cpu_ms, "first_traced_ms": measured[TRACED].cpu_ms,
               "handlers": handlers},
    )


if __name__ == "__main__":
    main()

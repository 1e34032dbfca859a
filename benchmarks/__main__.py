"""`make bench`: every benchmark in a process of its own, then one table with the limits."""

from __future__ import annotations

import json
import subprocess
import sys

from rich.console import Console
from rich.table import Table

from benchmarks.common import RESULTS, ROOT

MODULES = ("synth", "lambda_cold_import", "embedded", "intent_snips", "serving_latency", "gate_power",
           "retrain_overhead", "first_run")
# name -> (the limit, which side is good); from the issue that asked for the numbers
LIMITS: dict[str, tuple[float, str]] = {
    "intent_snips_accuracy": (0.97, ">="), "intent_snips_train_seconds": (150, "<="),
    "intent_serving_p95_ms": (15, "<="), "distilbert_serving_p95_ms": (15, "<="), "synth_seconds": (20, "<="),
    "embedded_ready_seconds": (5, "<="), "embedded_memory_mb": (400, "<="), "embedded_deploy_seconds": (15, "<="),
    "retrain_overhead_seconds": (10, "<="), "lambda_cold_import_ms": (400, "<="),
}


def main() -> int:
    console = Console()
    chosen = sys.argv[1:] or MODULES
    failed = []
    for name in chosen:
        console.rule(name)
        if subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], cwd=ROOT, check=False).returncode:
            failed.append(name)
    table = Table("number", "ours", "limit", "", "best peer")
    for path in sorted(RESULTS.glob("*.json")):
        table.add_row(*row(json.loads(path.read_text("utf-8"))))
    console.print(table)
    if failed:
        console.print(f"[red]did not finish: {', '.join(failed)}[/red]")
    return 1 if failed else 0


def row(result: dict[str, object]) -> tuple[str, str, str, str, str]:
    name, ours = str(result["name"]), float(str(result["ours"]))
    peers = result.get("peers")
    values = [float(v) for v in peers.values()] if isinstance(peers, dict) else []
    best = (min if result["better"] == "lower" else max)(values) if values else None
    shown = "" if best is None else f"{best:.4g}"
    if name not in LIMITS:
        return name, f"{ours:.4g} {result['unit']}", "", "", shown
    limit, side = LIMITS[name]
    held = ours >= limit if side == ">=" else ours <= limit
    return name, f"{ours:.4g} {result['unit']}", f"{side} {limit:g}", "yes" if held else "[red]NO[/red]", shown


if __name__ == "__main__":
    sys.exit(main())

"""`make bench`: every benchmark in a process of its own, then one table with the limits."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.common import RESULTS, ROOT

MODULES = (
    "synth", "lambda_cold_import", "embedded", "intent_snips", "serving_latency", "gate_power", "canary_power",
    "pit_join", "drift_pass", "drift_false_alarms", "audit_verify", "fabric_overhead", "iam_calls", "freeze_seconds",
    "fault_matrix", "retrain_overhead", "first_run",
)


def main() -> int:
    console = Console()
    chosen = sys.argv[1:] or MODULES
    failed = []
    for name in chosen:
        console.rule(name)
        if subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], cwd=ROOT, check=False).returncode:
            failed.append(name)
    table = Table("number", "ours", "limits", "best peer")
    for path in sorted(RESULTS.glob("*.json")):
        table.add_row(*row(json.loads(path.read_text("utf-8"))))
    console.print(table)
    if failed:
        console.print(f"[red]did not finish: {', '.join(failed)}[/red]")
    return 1 if failed else 0


def row(result: dict[str, Any]) -> tuple[str, str, str, str]:
    values = [float(v) for v in result["peers"].values()]
    best = (min if result["better"] == "lower" else max)(values) if values else None
    named = result.get("limits", {})  # a result of an older checkout names none
    limits = "\n".join(f"{text}: yes" if held else f"[red]{text}: NO[/red]" for text, held in named.items())
    return result["name"], f"{result['ours']:.4g} {result['unit']}", limits, "" if best is None else f"{best:.4g}"


if __name__ == "__main__":
    sys.exit(main())

"""The last demo's report on a terminal."""

from __future__ import annotations

import json
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cli.errors import CliError


def print_report(out: Console, folder: Path) -> None:
    path = folder / "report.json"
    if not path.is_file():
        raise CliError(f"{path} is not there; `make demo` writes it")
    report = json.loads(path.read_text("utf-8"))
    table = Table(title=f"demo in {report['region']} on {report['dataset']}, {report['seconds']:.0f} s")
    table.add_column("scene")
    table.add_column("")
    table.add_column("what happened", overflow="fold")
    for scene in report["scenes"]:
        table.add_row(
            scene["name"],
            "[green]pass[/green]" if scene["passed"] else "[red]FAIL[/red]",
            escape(scene["detail"]),
        )
    out.print(table)
    out.print(f"page: {(folder / 'report.html').resolve()}")

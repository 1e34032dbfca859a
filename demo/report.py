"""What a demo leaves behind: report.json (other tools read it) and report.html (for people)."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cli.status import pointer
from contracts import naming
from demo import page
from demo.stage import Stage

FAULT_MATRIX = Path(__file__).resolve().parents[1] / "build" / "bench" / "fault_matrix.json"


@dataclass(frozen=True, kw_only=True)
class SceneResult:
    name: str
    passed: bool
    detail: str
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        return {"name": self.name, "passed": self.passed, "detail": self.detail, "seconds": self.seconds}


def collect(stage: Stage, scenes: Sequence[SceneResult], *, seconds: float) -> dict[str, Any]:
    """The report as design.md fixes it; metrics and gates are those of the version that serves at the end."""
    promoted, evaluation, verdict = serving_now(stage)
    story = {
        "executions": [
            {"name": run.name, "outcome": run.outcome, "seconds": run.seconds, "states": list(run.states)}
            for run in stage.executions
        ],
        "metrics": {"all": evaluation.get("metrics", {}), **evaluation.get("slices", {})},
        "gates": [
            {"name": gate["name"], "value": gate["value"], "limit": gate["limit"], "passed": gate["passed"]}
            for gate in verdict.get("gates", [])
        ],
        "promoted_version": str(promoted["version"]) if promoted else None,
        "serving": stage.serving or {"p50_ms": None, "p95_ms": None, "p99_ms": None, "requests": 0},
    }
    return {
        "region": stage.target.deployment.region,
        "dataset": stage.material.name,
        "seconds": round(seconds, 1),
        "stories": {stage.slug: story},
        "scenes": [scene.to_dict() for scene in scenes],
        "data": {
            "kind": stage.material.kind,
            "licence": stage.material.licence,
            "rows": len(stage.material.rows),
            "golden": len(stage.material.golden),
            "taxonomy": evaluation.get("taxonomy", {}).get("name"),
        },
        "timings": {name: round(value, 1) for name, value in stage.timings.items()},
        "fault_matrix": fault_matrix(FAULT_MATRIX),
    }


def fault_matrix(path: Path) -> dict[str, Any] | None:
    """What `python -m benchmarks.fault_matrix` measured on this checkout, by kind of fault; None when nobody ran it."""
    if not path.exists():
        return None
    measured = json.loads(path.read_text("utf-8"))
    kinds: dict[str, dict[str, int]] = {name: {"held": 0, "tried": 0} for name in measured["kinds"]}
    for pair in measured["pairs"]:
        if pair["state"] != "not applicable":
            kinds[pair["kind"]]["tried"] += 1
            kinds[pair["kind"]]["held"] += pair["state"] == "held"
    return {"says": measured["kinds"], "kinds": kinds, "not_applicable": measured["pairs_not_applicable"]}


def serving_now(stage: Stage) -> tuple[dict[str, Any] | None, dict[str, Any], dict[str, Any]]:
    """(pointer, its evaluation, its verdict); (None, {}, {}) when nothing was promoted or deployed."""
    try:
        found = pointer(stage.target, stage.slug)
        if found is None:
            return None, {}, {}
        verdict_uri = str(found["verdict_uri"])
        evaluation_uri = verdict_uri.removesuffix(naming.VERDICT_FILE) + naming.EVALUATION_FILE
        return found, stage.read_json(evaluation_uri), stage.read_json(verdict_uri)
    except ClientError:  # the deploy failed: there is no table to ask, and the scenes say so
        return None, {}, {}


def write(report: dict[str, Any], out: Path, *, keep_logs: Sequence[Path] = ()) -> None:
    """Replace `out` in one step: a reader sees the old report or the new one, never half of one."""
    html = page.render(report)
    out.parent.mkdir(parents=True, exist_ok=True)
    new = Path(tempfile.mkdtemp(prefix=f".{out.name}-new-", dir=out.parent))
    (new / "report.json").write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", "utf-8")
    (new / "report.html").write_text(html, "utf-8")
    for log in keep_logs:
        if log.exists():
            shutil.copy(log, new / log.name)
    new.chmod(0o755)
    old = new.with_name(new.name + "-old")
    if out.exists():
        os.rename(out, old)
    os.rename(new, out)
    shutil.rmtree(old, ignore_errors=True)


def print_table(console: Console, report: dict[str, Any], out: Path) -> None:
    table = Table(
        title=f"{report['dataset']} in {report['region']}: {report['seconds']:.0f} s", title_justify="left"
    )
    table.add_column("scene", no_wrap=True)
    table.add_column("")
    table.add_column("s", justify="right")
    table.add_column("what happened", overflow="fold")
    for scene in report["scenes"]:
        table.add_row(
            scene["name"],
            "[green]pass[/green]" if scene["passed"] else "[red]FAIL[/red]",
            f"{scene['seconds']:.1f}",
            escape(scene["detail"]),
        )
    console.print(table, soft_wrap=False)
    console.print(f"report: {out / 'report.json'}\npage:   {out / 'report.html'}", highlight=False)

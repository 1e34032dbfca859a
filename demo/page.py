"""report.html: one page for people, with everything in it, so that it can be mailed and opened anywhere."""

from __future__ import annotations

import re
from html import escape
from pathlib import Path
from typing import Any

from demo.passages import in_words

HERE = Path(__file__).resolve().parent
KIND = {
    "real": "real data",
    "made": "data we made",
    "own": "your own data",
}
TITLES = {
    "deploy": "Deploy",
    "first_promotion": "First promotion",
    "serve": "Serve three languages",
    "worse_candidate_rejected": "A worse candidate is rejected",
    "freeze": "Freeze",
    "promotion_disabled": "Promotion disabled",
    "ssm_unreachable": "Parameter store unreachable",
    "flag_flipped_midway": "Flag flipped midway",
    "drift_retrains": "Drift retrains",
    "rollback": "Roll-back",
    "deploy_keeps_promotion": "A deploy keeps the promotion",
    "two_retrains_one_lease": "Two retrains, one lease",
    "answer_lost": "An answer is lost",
    "fabric_survives_cache_loss": "The cache is lost",
    "artifact_tampered": "A tampered artifact",
    "region_receives_signed_copy": "A region receives its signed copy",
    "label_quarantine": "Labels in quarantine",
    "point_in_time_audit": "No row saw the future",
    "canary_aborts": "A canary aborts",
}
MADE_AND_REAL = (
    ("Templates", "real", "the same CloudFormation files that an AWS account gets"),
    ("State machines, Lambda handlers, IAM roles", "real", "run and enforced by the embedded AWS"),
    (
        "Prepare, train, evaluate, serve",
        "real",
        "the production scripts as processes; fewer training steps, by hyperparameter",
    ),
    ("Signature", "real", "ECDSA P-256 over SHA-256 of every file, checked before the model is loaded"),
    ("Encoder", "stand-in", "multilingual-e5-small instead of multilingual DistilBERT"),
    ("Time", "shortened", "waits, bakes and alarm periods are divided by a clock factor"),
    (
        "Roll-back seconds",
        "control path",
        "no fleet is provisioned here; on AWS the previous one is kept warm",
    ),
    ("Latency", "this machine", "one CPU process per instance; production runs ml.g5.xlarge"),
)


def render(report: dict[str, Any]) -> str:
    slug, story = next(iter(report["stories"].items()))
    css = (HERE / "page.css").read_text("utf-8")
    picture = (HERE / "pipeline.svg").read_text("utf-8")
    sections = "\n".join(
        (
            hero(report, slug, story),
            facts(report),
            f'<figure class="picture">{picture}</figure>',
            scenes(report),
            quality(report, story),
            gates(story),
            executions(story),
            faults(report),
            honesty(report),
        )
    )
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>MangaAssist demo - {escape(report['dataset'])}</title>\n<style>{css}</style></head>\n"
        f"<body><main>\n{sections}\n</main></body></html>\n"
    )


def hero(report: dict[str, Any], slug: str, story: dict[str, Any]) -> str:
    state = "good" if all(scene["passed"] for scene in report["scenes"]) else "bad"
    minutes, seconds = divmod(round(report["seconds"]), 60)
    metrics = story["metrics"]["all"]
    tiles = (
        (count(report["scenes"]), "scenes passed", state),
        (count(story["gates"]), "gates passed", ""),
        (number(metrics.get("macro_accuracy"), 3), "macro accuracy", ""),
        (number(story["serving"].get("p95_ms"), 1) + "<small>ms</small>", "p95 at the caller", ""),
        (escape(story["promoted_version"] or "none"), "version serving", ""),
        (f"{minutes}<small>min</small> {seconds:02d}<small>s</small>", "whole demo", ""),
    )
    cells = "".join(
        f'<div class="tile {kind}"><b>{value}</b><span>{label}</span></div>' for value, label, kind in tiles
    )
    return (
        f'<header><p class="kicker">MangaAssist ML platform · {escape(slug)} · {escape(report["region"])}</p>'
        f"<h1>Labels in, a promoted and serving model out</h1>"
        f'<p class="lead">One run of the whole loop on one machine, without an AWS account: data set '
        f"<b>{escape(Path(report['dataset']).name)}</b> {badge(report)}</p>"
        f'<div class="tiles">{cells}</div></header>'
    )


def facts(report: dict[str, Any]) -> str:
    """What it was made from, beside the numbers that came of it."""
    data = report["data"]
    rows = (
        ("labels", f"{data['rows']} rows, {data['golden']} of them golden"),
        ("label set", escape(data["taxonomy"] or "none")),
        ("licence", escape(data["licence"])),
    )
    return '<dl class="facts">' + "".join(f"<div><dt>{a}</dt><dd>{b}</dd></div>" for a, b in rows) + "</dl>"


def badge(report: dict[str, Any]) -> str:
    kind = report["data"]["kind"]
    return f'<span class="badge {escape(kind)}">{KIND.get(kind, "data")}</span>'


def scenes(report: dict[str, Any]) -> str:
    longest = max((scene["seconds"] for scene in report["scenes"]), default=1.0) or 1.0
    rows = "".join(
        f'<li class="{"good" if scene["passed"] else "bad"}"><span '
        f'class="mark">{"✓" if scene["passed"] else "✗"}</span>'
        f"<div><h3>{escape(TITLES.get(scene['name'], scene['name']))} "
        f"<code>{escape(scene['name'])}</code></h3>"
        f"<p>{escape(scene['detail'])}</p></div>"
        '<div class="time"><i '
        f'style="width:{scene["seconds"] / longest * 100:.0f}%"></i><span>{scene["seconds"]:.1f} s</span>'
        f"</div></li>"
        for scene in report["scenes"]
    )
    return f'<section><h2>The scenes</h2><ol class="scenes">{rows}</ol></section>'


def quality(report: dict[str, Any], story: dict[str, Any]) -> str:
    named = {name: m for name, m in story["metrics"].items() if name != "all" and "macro_f1" in m}
    rows = "".join(
        f'<tr><td>{escape(name.replace(",", " · "))}</td><td class="n">{metric.get("rows", "")}</td>'
        f'<td class="n">{number(metric.get("accuracy"), 3)}</td><td '
        f'class="bar">{bar(metric.get("macro_f1"))}</td></tr>'
        for name, metric in named.items()
    )
    serving = story["serving"]
    slowest = serving.get("p99_ms") or 1.0
    latency = "".join(
        f"<tr><td>p{p}</td><td class='bar'>{bar(serving.get(f'p{p}_ms'), slowest, digits=1, unit=' ms')}</td></tr>"
        for p in (50, 95, 99)
    )
    kind = report["data"]["kind"]
    note = (
        " Made data shows that the machinery works, not how good the model is on customers."
        if kind == "made"
        else ""
    )
    return (
        '<section class="two"><div><h2>Quality by slice</h2><p>Version '
        f"{escape(story['promoted_version'] or 'none')} on "
        f"{report['data']['golden']} golden rows ({KIND.get(kind, kind)}).{note}</p>"
        '<table><thead><tr><th>slice</th><th class="n">rows</th><th '
        'class="n">accuracy</th><th>macro-F1</th></tr></thead>'
        f"<tbody>{rows or nothing(4)}</tbody></table></div>"
        f"<div><h2>Serving</h2><p>{serving.get('requests', 0)} requests in three languages, whole "
        "round trip at the "
        f"caller.</p><table><tbody>{latency}</tbody></table></div></section>"
    )


def gates(story: dict[str, Any]) -> str:
    rows = "".join(
        f'<tr class="{"good" if gate["passed"] else "bad"}"><td>{escape(gate["name"])}</td>'
        f'<td class="n">{general(gate["value"])}</td><td>{gauge(gate)}</td><td>{limit(gate)}</td>'
        f'<td class="mark">{"✓" if gate["passed"] else "✗"}</td></tr>'
        for gate in story["gates"]
    )
    return (
        "<section><h2>Gates of the version that serves</h2><p>A gate without evidence fails. "
        "Comparisons with the "
        "champion turn a candidate down when it is worse beyond doubt.</p>"
        '<table><thead><tr><th>gate</th><th class="n">value</th><th></th><th>limit</th><th></th></tr></thead>'
        f"<tbody>{rows or nothing(5)}</tbody></table></section>"
    )


def limit(gate: dict[str, Any]) -> str:
    return escape(gate["limit"]).replace("&gt;=", "≥").replace("&lt;=", "≤")


def gauge(gate: dict[str, Any]) -> str:
    """Value beside limit, the limit always at two thirds. Comparisons are no plain limit and get none."""
    found = re.match(r"[<>]= (\d+(?:\.\d+)?)", gate["limit"])
    if found is None or gate["value"] is None or float(found[1]) == 0:
        return ""
    width = min(100.0, max(0.0, gate["value"] / float(found[1]) * 200 / 3))
    return f'<span class="gauge"><i style="width:{width:.1f}%"></i><b></b></span>'


def executions(story: dict[str, Any]) -> str:
    rows = "".join(
        f'<tr><td><code>{escape(run["name"])}</code></td><td><span class="outcome {escape(run["outcome"])}">'
        f'{escape(run["outcome"])}</span></td><td class="n">{run["seconds"]:.1f}</td>'
        f'<td class="states">{folded(run)}</td></tr>'
        for run in story["executions"]
    )
    return (
        "<section><h2>Executions of the retrain state machine</h2><p>Every end has a name of its own; "
        "click a run to see the states that it passed.</p><table><thead><tr><th>run</th><th>outcome</th>"
        "<th "
        f'class="n">s</th><th>states</th></tr></thead><tbody>{rows or nothing(4)}</tbody></table></section>'
    )


def faults(report: dict[str, Any]) -> str:
    """The fault matrix by kind, when the benchmark was run; it is no part of the demo, and says so."""
    found = report.get("fault_matrix")
    if not found:
        return ""
    rows = "".join(
        f"<tr><td>{escape(name.replace('_', ' '))}</td><td>{escape(found['says'][name])}</td>"
        f"<td><b>{kind['held']}</b> of {kind['tried']}</td></tr>"
        for name, kind in found["kinds"].items()
    )
    held, tried = (sum(kind[what] for kind in found["kinds"].values()) for what in ("held", "tried"))
    return (
        f"<section><h2>Faults at every task: {held} of {tried} pairs held</h2>"
        f'<table class="honest"><tbody>{rows}</tbody></table>'
        f'<p class="foot">Measured apart from this demo by <code>python -m benchmarks.fault_matrix</code>; '
        f"{found['not_applicable']} pairs of task and fault make no sense and are not counted.</p></section>"
    )


def honesty(report: dict[str, Any]) -> str:
    data = report["data"]
    first = (
        "Labels",
        KIND.get(data["kind"], data["kind"]),
        f"{data['rows']} rows, {data['golden']} of them golden; licence: {data['licence']}",
    )
    rows = "".join(
        f"<tr><td>{escape(a)}</td><td><b>{escape(b)}</b></td><td>{escape(c)}</td></tr>"
        for a, b, c in (first, *MADE_AND_REAL)
    )
    timings = ", ".join(
        f"{escape(name.replace('_', ' '))} {value:.1f} s" for name, value in report["timings"].items()
    )
    return (
        '<section><h2>What is real here and what is not</h2><table class="honest"><tbody>'
        + rows
        + f'</tbody></table><p class="foot">{timings}</p></section>'
    )


def folded(run: dict[str, Any]) -> str:
    states = run["states"]
    return (
        f"<details><summary>{len(states)} states, ended {escape(run['outcome'])}</summary>"
        f"<p>{escape(in_words(states))}</p></details>"
    )


def count(parts: list[dict[str, Any]]) -> str:
    return f"{sum(part['passed'] for part in parts)}<small>/{len(parts)}</small>"


def bar(value: float | None, longest: float = 1.0, *, digits: int = 3, unit: str = "") -> str:
    if value is None:
        return "–"
    width = max(0.0, min(1.0, value / longest)) * 100
    return f'<i style="width:{width:.1f}%"></i><span>{value:.{digits}f}{unit}</span>'


def number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def general(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


def nothing(columns: int) -> str:
    return f'<tr><td colspan="{columns}" class="none">nothing was promoted</td></tr>'

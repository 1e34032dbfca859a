"""How results look on a terminal."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from cli.approvals import Question
from cli.audit import Verified
from cli.dataset_audit import DatasetAudited
from cli.drift_regions import RegionsDrift
from cli.executions import Finished
from cli.feature_join import JOINED
from cli.flags import FlagChange
from cli.labels import INGESTED, Ingest
from cli.status import StoryStatus
from cli.traffic import Answered
from contracts import events
from contracts.datasets import Validation

SHOWN_PROBLEMS = 20
GOOD = {events.PROMOTED, events.RECEIVED, events.UP_TO_DATE, events.ROLLED_BACK, events.RECONCILED, INGESTED, JOINED}


def colour(outcome: str) -> str:
    if outcome in GOOD:
        return f"[green]{outcome}[/green]"
    return f"[red]{outcome}[/red]" if outcome == events.FAILED else f"[yellow]{outcome}[/yellow]"


def approval(out: Console, answered: Question) -> None:
    out.print(f"answered run {answered.run_id}, version {answered.version}; the audit trail has who and why")


def problems(out: Console, validation: Validation) -> None:
    """Bad rows with their values: a terminal may show customer text, a log may not."""
    if not validation.problems:
        return
    table = Table(title=f"{validation.file}: {len(validation.problems)} bad of {validation.total} rows")
    for column in ("row", "field", "reason", "value", "allowed"):
        table.add_column(column, overflow="fold")
    for p in validation.problems[:SHOWN_PROBLEMS]:
        table.add_row(str(p.row), p.field, p.reason, escape(p.value), escape(p.allowed))
    out.print(table)
    if len(validation.problems) > SHOWN_PROBLEMS:
        out.print(f"... and {len(validation.problems) - SHOWN_PROBLEMS} more: {validation.reasons()}")


def ingested(out: Console, done: Ingest) -> None:
    out.print(
        f"batch {done.batch_id}: {len(done.validation.rows)} rows of taxonomy "
        f"{done.validation.taxonomy.name}, "
        f"ingest {colour(done.execution.outcome)}"
    )


def finished(out: Console, done: Finished) -> None:
    out.print(
        f"{done.name}: {colour(done.outcome)} after {done.seconds:.1f} s"
        + (f" - {escape(done.why)}" if done.why else "")
    )


def flag_change(out: Console, change: FlagChange) -> None:
    if change.changed:
        out.print(
            f"{change.flag}: {change.before} -> [bold]{change.after}[/bold], audit record {change.audit_id}"
        )
    else:
        out.print(f"{change.flag} is {change.after} already; nothing changed")


def story_status(out: Console, found: StoryStatus) -> None:
    pointer, lease = found.pointer or {}, found.lease or {}
    facts = Table(title=found.slug, show_header=False, title_justify="left")
    facts.add_row(
        "serving",
        f"version {pointer['version']}, promoted {pointer.get('promoted_at', '?')} by run "
        f"{pointer.get('run_id', '?')}"
        if pointer
        else "never promoted",
    )
    facts.add_row("previous", str((pointer.get("previous") or {}).get("version", "none")))
    facts.add_row("endpoint", f"{found.endpoint.status} {found.endpoint.config}".strip())
    facts.add_row(
        "lease", str(lease.get("holder", "free")).rsplit(":", 1)[-1] if lease.get("holder") else "free"
    )
    for flag, value in sorted(found.flags.items()):
        facts.add_row(flag, value)
    out.print(facts)
    table = Table("run", "outcome", "seconds", "last state")
    for run in found.executions:
        state = colour(run.outcome) if run.status != "RUNNING" else "running"
        table.add_row(run.name, state, f"{run.seconds:.1f}", run.states[-1] if run.states else "")
    out.print(table)


def answered(out: Console, result: Answered) -> None:
    languages = ", ".join(f"{name} {n}" for name, n in sorted(result.languages.items()))
    out.print(
        f"{result.requests} requests ({languages}), {result.failed} failed; "
        f"p50 {result.percentile(50):.1f} ms, p95 {result.percentile(95):.1f} ms, p99 "
        f"{result.percentile(99):.1f} ms"
    )


def audit_verified(out: Console, found: Verified) -> None:
    verdict = found.verdict
    state = "[green]intact[/green]" if found.intact else "[red]not intact[/red]"
    out.print(f"{verdict.chain}: {state}, {verdict.records} records, signed to {verdict.signed_to}")
    lines = [f"{fault} ({found.ids[fault.first]})" if fault.first in found.ids else str(fault)
             for fault in verdict.findings]
    lines += [f"record {of} is in no chain" for of in found.unlinked]
    lines += [f"{key} is no signed checkpoint" for key in found.unreadable_checkpoints]
    for text in lines[:SHOWN_PROBLEMS]:
        out.print(f"  {escape(text)}", highlight=False)
    if len(lines) > SHOWN_PROBLEMS:
        out.print(f"  ... and {len(lines) - SHOWN_PROBLEMS} more")


def heads_signed(out: Console, signed: Mapping[str, int]) -> None:
    for chain, sequence in signed.items():
        out.print(f"{chain}: head of {sequence} records signed")
    if not signed:
        out.print("no chain has grown since its last signed head")


def state_printer(out: Console) -> Callable[[str], None]:
    started = time.monotonic()
    return lambda state: out.print(f"  {time.monotonic() - started:6.1f} s  {state}", highlight=False)


def _bar(out: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=out,
        transient=True,
    )


@contextmanager
def row_progress(out: Console, path: Path) -> Iterator[Callable[[int], None]]:
    total = sum(1 for _ in path.open("rb")) if path.is_file() else None
    with _bar(out) as bar:
        task = bar.add_task(f"checking {path.name}", total=total)
        yield lambda row: bar.update(task, completed=row)


@contextmanager
def request_progress(out: Console, requests: int) -> Iterator[Callable[[], None]]:
    with _bar(out) as bar:
        task = bar.add_task("requests", total=requests)
        yield lambda: bar.advance(task)


def dataset_audited(out: Console, found: DatasetAudited) -> None:
    verdict = "[green]nothing from the future[/green]" if found.passed else "[red]not as it was known then[/red]"
    out.print(f"{found.dataset}: {found.sampled} of {found.rows} rows looked at, {found.matched} with a feature row: "
              f"{verdict}" + "".join(f", {count} {reason}" for reason, count in found.violations.items()))
    for example in found.examples:
        out.print(f"  row {escape(example['id'])}: {example['reason']}, {escape(example['detail'])}", soft_wrap=True)


def regions_drift(out: Console, found: RegionsDrift) -> None:
    title = f"counted until {found.until:%Y-%m-%d %H:%M} UTC" if found.until else "nothing was counted yet"
    shares = Table("deployment", "version", "hours", "requests", title=title, title_justify="left")
    for share in found.shares:
        shares.add_row(share.deployment, share.version or share.note, str(share.hours), f"{share.requests:,}")
    out.print(shares)
    table = Table("monitor", "language", "cohort", "requests", "PSI", "p", "feature or why not")
    for r in found.results:
        value, chance = (f"{number:.3g}" if number is not None else "" for number in (r.value, r.p_value))
        table.add_row(r.monitor, r.language, r.cohort or "all", f"{r.requests:,}", value, chance, r.feature or r.note)
    out.print(table)

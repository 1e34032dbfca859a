"""The command line. Each command says what it did; `mangaassist COMMAND --help` says what it takes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer
from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console

from cli import (
    approvals,
    audit,
    dataset_audit,
    drift_regions,
    executions,
    feature_join,
    features,
    flags,
    label_tasks,
    labels,
    show,
    traffic,
)
from cli import status as status_of
from cli.cost import choose_templates, cost_report
from cli.cost_tables import print_costs
from cli.deploying import deploy_to
from cli.errors import CliError, one_of
from cli.report import print_report
from cli.target import Target, explain, find_story
from contracts import events, naming, records
from contracts.deployments import DEPLOYMENTS
from contracts.features import FeatureGroupContract
from contracts.kill_switches import GLOBAL_FREEZE
from contracts.story import StoryContract
from fabric import cohort_now

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Operate the MangaAssist ML platform.",
    epilog="The same words work on AWS and, with --endpoint-url, on the embedded AWS.",
)
labels_app = typer.Typer(no_args_is_help=True, help="Label files.")
features_app = typer.Typer(no_args_is_help=True, help="Feature records.")
drift_app = typer.Typer(no_args_is_help=True, help="Drift.")
audit_app = typer.Typer(no_args_is_help=True, help="The audit trail.")
app.add_typer(labels_app, name="labels")
app.add_typer(features_app, name="features")
app.add_typer(audit_app, name="audit")
app.add_typer(drift_app, name="drift")

out = Console()
err = Console(stderr=True)
_target: Target | None = None

Story = Annotated[str, typer.Argument(help="story slug, for example intent-classifier")]
Version = Annotated[str, typer.Argument(help="the version that is asked about, as the notification says")]
Reason = Annotated[str, typer.Option("--reason", help="what happened; goes into the audit trail")]


@app.callback()
def choose_target(
    deployment: Annotated[str, typer.Option("--deployment", "-d", help="jp, us or eu, or its region")] = "jp",
    endpoint_url: Annotated[
        str | None,
        typer.Option(
            "--endpoint-url", envvar="AWS_ENDPOINT_URL", help="an embedded AWS; without it, AWS itself"
        ),
    ] = None,
) -> None:
    global _target
    _target = Target.of(deployment, endpoint_url)


def target() -> Target:
    assert _target is not None, "the callback runs before every command"
    return _target


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
)
def local(context: typer.Context) -> None:
    """Run the embedded AWS: `local up --cdk-out DIR`, `local down --data-dir DIR` (see `local --help`)."""
    raise typer.Exit(subprocess.run([sys.executable, "-m", "local", *context.args], check=False).returncode)


@app.command()
def deploy(
    cdk_out: Annotated[Path, typer.Option("--cdk-out", help="synthesised templates")] = Path("build/cdk.out"),
) -> None:
    """Deploy the chosen deployment's stacks from synthesised templates (tags: context `tags` of the synthesis)."""
    deploy_to(target(), cdk_out)


@labels_app.command("ingest")
def labels_ingest(
    file: Path, story: Annotated[str, typer.Option("--story")], reason: Reason = labels.INGESTED_BY_HAND
) -> None:
    """Check a label file and take it into label_records. Stops when more than 1 % of its rows are bad."""
    find_story(story)
    with show.row_progress(out, file) as on_row:
        validation = labels.check(file, on_row=on_row)
    show.problems(out, validation)
    labels.refuse_when_too_bad(validation)
    done = labels.ingest(
        target(), file, story=story, validation=validation, reason=reason, on_state=show.state_printer(out)
    )
    show.ingested(out, done)
    if done.execution.outcome != labels.INGESTED:
        raise CliError(
            f"ingest ended as {done.execution.outcome}: {done.execution.error or done.execution.output}"
        )


@labels_app.command("send")
def labels_send(file: Path, story: Annotated[str, typer.Option("--story")]) -> None:
    """Send a task out: the texts to be labelled, the label set and who is asked. Vendors deliver by the signed API."""
    task = label_tasks.send(target(), file, story=find_story(story).slug)
    out.print(f"task {task.name}: {len(task.items)} items for {', '.join(task.by)}")


@labels_app.command("deliver")
def labels_deliver(
    file: Path,
    story: Annotated[str, typer.Option("--story")],
    task: Annotated[str, typer.Option("--task", help="its name, as it was sent out")],
) -> None:
    """Deliver to a task by hand: feedback, labelling functions, a model's labels, or what a vendor sent otherwise."""
    out.print(f"delivered {label_tasks.deliver(target(), file, story=find_story(story).slug, task=task)}")


@features_app.command("put")
def features_put(
    file: Path,
    story: Annotated[str, typer.Option("--story")],
    group: Annotated[str | None, typer.Option("--group", help="that of the cohorts when absent")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="until the offline store has them")] = False,
) -> None:
    """Put records (JSON lines, one object of features a line) into a feature group of the story."""
    declared = group_of(find_story(story), group)
    records_of_file = features.read_records(file, declared)
    before = features.offline_rows(target(), declared) if wait else 0
    features.put(target(), declared, records_of_file)
    out.print(f"{len(records_of_file)} records put into {declared.resource_name}")
    if wait:
        features.wait_offline(target(), declared, before + len(records_of_file))
        out.print("the offline store has them")


@features_app.command("join")
def features_join(
    story: Annotated[str, typer.Option("--story")],
    labels_at: Annotated[str, typer.Option("--labels", help="Parquet file or folder here, or a folder's name there")],
    features_at: Annotated[str, typer.Option("--features", help="the same, with feature rows")],
    output: Annotated[str, typer.Option("--output", help="a folder's name; written anew as a whole")],
    group: Annotated[str | None, typer.Option("--group", help="that of the cohorts when absent")] = None,
    run_id: Annotated[str | None, typer.Option("--run-id", help="the same id again is the same join")] = None,
) -> None:
    """Join each label with what was known at its time, on Spark; what that means, the feature group says."""
    contract = find_story(story)
    done = feature_join.join(
        target(), contract, group_of(contract, group), labels=labels_at, features=features_at, output=output,
        run_id=run_id, on_state=show.state_printer(out),
    )
    show.finished(out, done.execution)
    if done.execution.outcome != feature_join.JOINED:
        raise CliError(f"{done.execution.name} failed: {done.execution.error or done.execution.status}")
    out.print(f"joined rows: {done.uri}", soft_wrap=True)


@app.command()
def retrain(
    story: Story,
    wait: Annotated[bool, typer.Option("--wait", help="show the states as they pass")] = False,
    hyperparameter: Annotated[list[str] | None, typer.Option("--hyperparameter", "-p", help="K=V")] = None,
    reason: Reason = "started by hand",
    run_id: Annotated[str | None, typer.Option("--run-id", help="the same id again is the same run")] = None,
) -> None:
    """Start a retrain."""
    find_story(story)
    arn = executions.start_retrain(
        target(), story, reason=reason, hyperparameters=key_values(hyperparameter or []), name=run_id
    )
    out.print(f"started {arn}")
    if wait:
        finish(arn)


@app.command()
def status(story: Annotated[str | None, typer.Argument(help="all built stories when absent")] = None) -> None:
    """Pointer, endpoint, flags, lease and last executions."""
    from contracts.stories import CONTRACTS

    for slug in [find_story(story).slug] if story else list(CONTRACTS):
        show.story_status(out, status_of.story_status(target(), slug))


@app.command()
def invoke(
    story: Story,
    text: str,
    cohort: Annotated[str | None, typer.Option(help="new, returning or power_user")] = None,
    customer: Annotated[str | None, typer.Option(help="take the cohort from what the feature store knows")] = None,
    daypart: Annotated[str | None, typer.Option(help="peak or off_peak")] = None,
) -> None:
    """Ask the endpoint one question."""
    find_story(story)
    if customer is not None:
        cohort = cohort_now(story, customer, runtime=target().client("sagemaker-featurestore-runtime"))
    out.print_json(data=traffic.ask(target(), story, text, cohort=cohort, daypart=daypart))


@app.command()
def freeze(state: Annotated[str, typer.Argument(help="on or off")], reason: Reason) -> None:
    """Pin every model to its last known good version, or lift that (SEV-1/2)."""
    show.flag_change(
        out, flags.write(target(), GLOBAL_FREEZE.name, on_or_off(state), story=records.PLATFORM, reason=reason)
    )


@app.command()
def promotion(state: Annotated[str, typer.Argument(help="on or off")], story: Story, reason: Reason) -> None:
    """Allow or forbid promotion of one model; what serves goes on serving."""
    slug = find_story(story).slug
    show.flag_change(
        out, flags.write(target(), naming.promotion_flag(slug), on_or_off(state), story=slug, reason=reason)
    )


@app.command()
def rollback(story: Story, reason: Reason = "rolled back by hand") -> None:
    """Return serving to the previous version; allowed while frozen."""
    find_story(story)
    if not (status_of.pointer(target(), story) or {}).get("previous"):
        raise CliError(
            f"{story} has no previous version to go back to; `mangaassist status {story}` shows what serves"
        )
    finish(executions.start_retrain(target(), story, mode="rollback", reason=reason))


@app.command()
def approve(story: Story, version: Version, reason: Reason) -> None:
    """Let a release that waits for a person begin; who and why goes into the audit trail."""
    show.approval(out, approvals.answer(target(), find_story(story).slug, version, approved=True, reason=reason))


@app.command()
def reject(story: Story, version: Version, reason: Reason) -> None:
    """End a release that waits for a person, with nothing touched."""
    show.approval(out, approvals.answer(target(), find_story(story).slug, version, approved=False, reason=reason))


@app.command()
def receive(story: Story, reason: Reason = "started by hand") -> None:
    """Take the signed version that home serves, now instead of within the hour; outside home only."""
    find_story(story)
    if target().deployment.home:
        raise CliError(f"{target().deployment.name} is home, which trains; receiving regions are "
                       f"{', '.join(d.name for d in DEPLOYMENTS if not d.home)} (--deployment)")
    finish(executions.start_receive(target(), story, reason=reason))


@drift_app.command("replay")
def drift_replay(
    story: Story,
    file: Path,
    requests: Annotated[
        int, typer.Option(min=1, help="how many; the file is repeated when it is shorter")
    ] = 300,
) -> None:
    """Send the texts of a label file through the endpoint, as if customers had written them."""
    find_story(story)
    rows = labels.check(file).rows
    with show.request_progress(out, requests) as tick:
        answered = traffic.replay(target(), story, rows, requests=requests, tick=tick)
    show.answered(out, answered)


@drift_app.command("regions")
def drift_over_regions(
    story: Story,
    hours: Annotated[int, typer.Option(min=1, max=drift_regions.MAX_HOURS, help="back from the newest count")] = 24,
) -> None:
    """Add up what every deployment counted, and judge the sum: for slices that are thin in each region."""
    everywhere = [Target.of(d.name, target().endpoint_url) for d in DEPLOYMENTS]
    show.regions_drift(out, drift_regions.merged(everywhere, find_story(story), hours=hours))


@audit_app.command("verify")
def audit_verify(
    chain: Annotated[str | None, typer.Argument(help="a story's slug, or platform; all when absent")] = None,
) -> None:
    """Say whether the audit trail is intact, or which records were tampered with, dropped, moved or cut off."""
    found = [audit.verify_chain(target(), name) for name in ((chain,) if chain else audit.CHAINS)]
    for verified in found:
        show.audit_verified(out, verified)
    if broken := [v.verdict.chain for v in found if not v.intact]:
        raise CliError(f"the audit trail of {', '.join(broken)} is not as it was written")


@audit_app.command("point-in-time")
def audit_point_in_time(
    dataset: Annotated[str, typer.Option("--dataset", help="STORY/RUN, for example intent-classifier/retrain-...")],
    sample: Annotated[int, typer.Option(min=1, help="how many rows with a customer to look at")] = 1_000,
) -> None:
    """Prove that no sampled row of a frozen data set saw the future, or name the rows that did."""
    found = dataset_audit.audit_dataset(target(), dataset, sample=sample)
    show.dataset_audited(out, found)
    if not found.passed:
        raise CliError(f"{dataset} does not hold what was known when its customers asked")


@audit_app.command("checkpoint")
def audit_checkpoint() -> None:
    """Sign the heads of the audit chains now, not at the next full hour."""
    show.heads_signed(out, audit.checkpoint(target()))


@app.command()
def cost(
    cdk_out: Annotated[
        Path | None,
        typer.Option("--cdk-out", help="synthesised templates; build/cdk.out when it is there"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="for tools")] = False,
) -> None:
    """What every deployment costs while idle, and every story for a training run and 100K requests. Asks no AWS."""
    costs = cost_report(choose_templates(cdk_out))
    if as_json:
        out.print_json(data=costs.to_dict())
    else:
        print_costs(out, costs)
    if costs.over_budget:
        raise CliError(f"over budget: {'; '.join(costs.over_budget)}")


@app.command()
def report(folder: Annotated[Path, typer.Argument()] = Path("build/demo")) -> None:
    """Print the last demo's report and where its page is."""
    print_report(out, folder)


def finish(arn: str) -> None:
    """Wait, show the states, and fail when the execution did. A skip or a rejection is no failure."""
    done = executions.wait(target(), arn, on_state=show.state_printer(out))
    show.finished(out, done)
    if done.outcome == events.FAILED:
        raise CliError(f"{done.name} failed: {done.error or done.status}")


def group_of(story: StoryContract, group: str | None) -> FeatureGroupContract:
    """The named feature group of a story; that of its cohorts without a name."""
    try:
        return story.feature_group(group or story.cohorts.group)
    except ValueError as error:
        raise CliError(str(error)) from None


def on_or_off(word: str) -> bool:
    if word not in ("on", "off"):
        raise one_of("state", word, ("on", "off"))
    return word == "on"


def key_values(pairs: list[str]) -> dict[str, str]:
    bad = [pair for pair in pairs if "=" not in pair]
    if bad:
        raise CliError(f"{bad[0]!r} must be KEY=VALUE, for example -p Epochs=1")
    return dict(pair.split("=", 1) for pair in pairs)


def main() -> None:
    try:
        app()
    except (CliError, TimeoutError) as error:
        err.print(f"[red]mangaassist:[/red] {error}", highlight=False, soft_wrap=True)
        sys.exit(1)
    except (ClientError, BotoCoreError) as error:
        err.print(f"[red]mangaassist:[/red] {explain(error, _target)}", highlight=False, soft_wrap=True)
        sys.exit(1)

"""The cost report on a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from cli.cost import COUNTED, CURRENCY, NOT_COUNTED, CostReport, DeploymentCost, StoryCost
from contracts import prices

NOT_DECLARED = "not declared yet"


def print_costs(out: Console, report: CostReport) -> None:
    for deployment in report.deployments:
        out.print(_idle_table(deployment))
        if not deployment.templates:
            out.print("  endpoints only: no templates of it; `make synth` writes them to build/cdk.out")
    out.print(_story_table(report.stories))
    out.print("fleet from: requests a month from which the least instances alone cost no more than the budget")
    out.print(f"{CURRENCY}, on-demand prices of {prices.AS_OF} (contracts/prices.py), a month of "
              f"{prices.HOURS_PER_MONTH} h")  # fmt: skip
    for title, lines in (("counted", COUNTED), ("not counted", NOT_COUNTED)):
        out.print(f"[bold]{title}[/bold]")
        for line in lines:
            out.print(f"  - {line}", highlight=False)


def _idle_table(cost: DeploymentCost) -> Table:
    table = Table(title=f"{cost.deployment} ({cost.region}), idle a month", title_justify="left", show_footer=True)
    table.add_column("what stands", footer="together")
    table.add_column("how many", justify="right")
    table.add_column(f"{CURRENCY} each", justify="right")
    table.add_column(CURRENCY, justify="right", footer=f"{cost.usd_per_month:,.2f}")
    for item in cost.items:
        table.add_row(item.what, str(item.quantity), f"{item.usd_per_month_each:,.2f}", f"{item.usd_per_month:,.2f}")
    return table


def _story_table(stories: tuple[StoryCost, ...]) -> Table:
    table = Table(title="stories", title_justify="left")
    table.add_column("story", no_wrap=True)
    table.add_column("where")
    table.add_column("training run")
    table.add_column("100K requests")
    table.add_column("fleet from", justify="right")
    for story in stories:
        if not story.declared:
            table.add_row(story.entry.slug, "", f"[dim]{NOT_DECLARED}[/dim]", f"[dim]{NOT_DECLARED}[/dim]", "")
        for request in story.requests:
            trains = request.region == story.training_region
            table.add_row(
                story.entry.slug if request is story.requests[0] else "",
                request.deployment,
                _of(story.training_usd_at_most, story.training_budget_usd) if trains else "",
                _of(request.usd_per_100k, story.requests_budget_usd),
                f"{request.standing_fleet_within_budget_from / 1e6:,.0f}M",
            )
    return table


def _of(value: float, budget: float | None) -> str:
    assert budget is not None, "a declared story has a budget"
    colour = "green" if value <= budget else "red"
    return f"[{colour}]{value:.2f}[/{colour}] of {budget:.2f}"

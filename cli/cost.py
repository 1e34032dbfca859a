"""What the platform costs: idle a month per deployment, a training run and 100,000 requests per story.

Upper ends from the contracts, before anything has run: a job takes its whole time limit, a fleet answers at its
autoscaling target. `evaluate.py` measures the same two numbers of a candidate, and the same gates judge them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cli.errors import CliError
from cli.idle_cost import IdleItem, standing_items, templates_of
from contracts import prices
from contracts.deployments import DEPLOYMENTS, Deployment
from contracts.gates import judge
from contracts.stories import CONTRACTS, ROSTER
from contracts.story import JobSizing, RosterEntry, StoryContract
from contracts.taxonomies import TAXONOMIES

DEFAULT_CDK_OUT = Path("build/cdk.out")
CURRENCY = "USD"
COUNTED = (
    "idle, from the contracts: the least instances of every story's endpoint, as soon as a model is promoted there",
    "idle, from the templates: KMS keys, secrets, alarms, dashboards, interface endpoints, cache nodes",
    "training run: prepare, train and evaluate, each at its whole time limit, in the home region, which trains",
    "requests: instance time of a fleet at its autoscaling target",
)
NOT_COUNTED = (
    "what is paid by use: storage, requests, log and capture volume, transfer, custom metrics, image builds",
    "per run: job volumes, the label freeze job, and the second fleet of a release while it bakes and waits",
    "free tiers, discounts, savings plans, taxes; the extra of a rotated key's first two rotations",
)


@dataclass(frozen=True, kw_only=True)
class DeploymentCost:
    deployment: str
    region: str
    templates: int  # none: nothing but the fleets is counted
    items: tuple[IdleItem, ...]

    @property
    def usd_per_month(self) -> float:
        return sum(item.usd_per_month for item in self.items)


@dataclass(frozen=True, kw_only=True)
class JobCost:
    job: str
    instance_type: str
    instances: int
    hours_at_most: float
    usd_at_most: float


@dataclass(frozen=True, kw_only=True)
class RequestCost:
    """`standing_fleet_within_budget_from`: requests a month from which the least instances alone cost no more
    than the budget; below, what stands is dearer than what is asked."""

    deployment: str
    region: str
    usd_per_100k: float
    standing_fleet_within_budget_from: float


@dataclass(frozen=True, kw_only=True)
class StoryCost:
    """`jobs` and `requests` are empty while the story is only a roster entry: it has declared nothing yet."""

    entry: RosterEntry
    training_region: str | None = None
    jobs: tuple[JobCost, ...] = ()
    requests: tuple[RequestCost, ...] = ()
    training_budget_usd: float | None = None
    requests_budget_usd: float | None = None
    over_budget: tuple[str, ...] = ()

    @property
    def declared(self) -> bool:
        return self.training_region is not None

    @property
    def training_usd_at_most(self) -> float:
        return sum(job.usd_at_most for job in self.jobs)


@dataclass(frozen=True, kw_only=True)
class CostReport:
    cdk_out: Path | None
    deployments: tuple[DeploymentCost, ...]
    stories: tuple[StoryCost, ...]

    @property
    def over_budget(self) -> tuple[str, ...]:
        return tuple(f"{s.entry.slug}: {reason}" for s in self.stories for reason in s.over_budget)

    def to_dict(self) -> dict[str, Any]:
        return {
            "currency": CURRENCY,
            "prices_as_of": prices.AS_OF,
            "price_sources": prices.SOURCES,
            "cdk_out": str(self.cdk_out) if self.cdk_out else None,
            "deployments": [_deployment_dict(d) for d in self.deployments],
            "stories": [_story_dict(s) for s in self.stories],
            "over_budget": list(self.over_budget),
            "counted": list(COUNTED),
            "not_counted": list(NOT_COUNTED),
        }


def choose_templates(given: Path | None) -> Path | None:
    """The folder named, or build/cdk.out when it is there. A folder that was named has to hold templates."""
    folder = given or DEFAULT_CDK_OUT
    if (folder / "manifest.json").is_file():
        return folder
    if given is None:
        return None
    raise CliError(f"{given} holds no synthesised templates; run `make synth` or name the folder with --cdk-out")


def cost_report(
    cdk_out: Path | None,
    *,
    contracts: Mapping[str, StoryContract] = CONTRACTS,
    roster: Iterable[RosterEntry] = tuple(ROSTER.values()),
) -> CostReport:
    """CliError names what has no price; an exceeded budget is in the report, for the caller to fail on."""
    try:
        return CostReport(
            cdk_out=cdk_out,
            deployments=tuple(_idle(d, contracts.values(), cdk_out) for d in DEPLOYMENTS),
            stories=tuple(
                story_cost(contracts[e.slug]) if e.slug in contracts else StoryCost(entry=e) for e in roster
            ),
        )
    except ValueError as error:
        raise CliError(str(error)) from error


def _idle(deployment: Deployment, contracts: Iterable[StoryContract], cdk_out: Path | None) -> DeploymentCost:
    templates = templates_of(cdk_out, deployment.name) if cdk_out else []
    fleets = [
        IdleItem(
            what=f"{contract.slug} endpoint, {contract.serving.instance_type}",
            quantity=contract.serving.min_instances,
            usd_per_month_each=_instance_month(contract, deployment),
        )
        for contract in contracts
    ]
    standing = standing_items(templates, deployment.region)
    return DeploymentCost(deployment=deployment.name, region=deployment.region, templates=len(templates),
                          items=(*fleets, *standing))


def story_cost(contract: StoryContract) -> StoryCost:
    """Upper ends by the contract alone, judged by the budget's own gates."""
    home = next(d for d in DEPLOYMENTS if d.home)
    sizings = {"prepare": contract.prepare, "train": contract.training, "evaluate": contract.evaluation}
    jobs = tuple(_job(name, sizing, home.region) for name, sizing in sizings.items())
    requests = tuple(_requests(contract, deployment) for deployment in DEPLOYMENTS)
    dearest = max(requests, key=lambda r: r.usd_per_100k)
    verdict = judge(
        {"cost": {"training_usd": sum(job.usd_at_most for job in jobs),
                  "serving_usd_per_100k": dearest.usd_per_100k}},
        gates=contract.budget.gates(), taxonomy=TAXONOMIES[contract.taxonomy], champion_version=None,
    )  # fmt: skip
    return StoryCost(
        entry=contract.entry,
        training_region=home.region,
        jobs=jobs,
        requests=requests,
        training_budget_usd=contract.budget.usd_per_training_run,
        requests_budget_usd=contract.budget.usd_per_100k_requests,
        over_budget=verdict.reasons(),
    )


def _job(name: str, sizing: JobSizing, region: str) -> JobCost:
    usd = prices.training_usd(
        seconds=sizing.max_runtime_s, instance_type=sizing.instance_type, instances=sizing.instances, region=region
    )
    return JobCost(job=name, instance_type=sizing.instance_type, instances=sizing.instances,
                   hours_at_most=sizing.max_runtime_s / 3_600, usd_at_most=usd)


def _requests(contract: StoryContract, deployment: Deployment) -> RequestCost:
    serving, budget = contract.serving, contract.budget.usd_per_100k_requests
    standing = serving.min_instances * _instance_month(contract, deployment)
    return RequestCost(
        deployment=deployment.name,
        region=deployment.region,
        usd_per_100k=prices.target_usd_per_100k(
            invocations_per_minute=serving.invocations_per_instance,
            instance_type=serving.instance_type,
            region=deployment.region,
        ),
        standing_fleet_within_budget_from=standing / budget * 100_000,
    )


def _instance_month(contract: StoryContract, deployment: Deployment) -> float:
    return prices.HOURS_PER_MONTH * prices.usd_per_hour(contract.serving.instance_type, deployment.region)


def _deployment_dict(cost: DeploymentCost) -> dict[str, Any]:
    return {
        "deployment": cost.deployment,
        "region": cost.region,
        "templates": cost.templates,
        "usd_per_month": cost.usd_per_month,
        "items": [{**asdict(item), "usd_per_month": item.usd_per_month} for item in cost.items],
    }


def _story_dict(cost: StoryCost) -> dict[str, Any]:
    entry = cost.entry
    head = {"code": entry.code, "slug": entry.slug, "owner": entry.owner, "declared": cost.declared}
    if not cost.declared:
        return {**head, "training_run": None, "requests": None, "over_budget": []}
    return {
        **head,
        "training_run": {
            "region": cost.training_region,
            "usd_at_most": cost.training_usd_at_most,
            "budget_usd": cost.training_budget_usd,
            "jobs": [asdict(job) for job in cost.jobs],
        },
        "requests": {
            "budget_usd_per_100k": cost.requests_budget_usd,
            "deployments": [asdict(request) for request in cost.requests],
        },
        "over_budget": list(cost.over_budget),
    }

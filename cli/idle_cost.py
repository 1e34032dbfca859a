"""What the resources of a deployment cost while nobody asks: counted in its templates, priced by contracts/prices.py.

Every resource type is in one of two tables: it stands and has a price, or it costs only what is used. A type in
neither ends the count, because a resource that nobody has looked at may be the dearest of all.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cli.errors import CliError
from contracts import prices

Properties = Mapping[str, Any]
# (what, how many, USD a month for one)
Standing = tuple[str, int, float]
Rule = Callable[[Properties, str], Iterator[Standing]]


@dataclass(frozen=True, kw_only=True)
class IdleItem:
    what: str
    quantity: int
    usd_per_month_each: float

    @property
    def usd_per_month(self) -> float:
        return self.quantity * self.usd_per_month_each


def _one(what: str) -> Rule:
    def rule(properties: Properties, region: str) -> Iterator[Standing]:
        yield what, 1, prices.usd_per_month(what, region)

    return rule


def _alarm(properties: Properties, region: str) -> Iterator[Standing]:
    """An alarm on an expression pays for each metric in it."""
    stats = [m["MetricStat"] for m in properties.get("Metrics", []) if "MetricStat" in m] or [properties]
    for stat in stats:
        what = prices.FAST_ALARM if int(stat.get("Period", 60)) < 60 else prices.ALARM
        yield what, 1, prices.usd_per_month(what, region)


def _vpc_endpoint(properties: Properties, region: str) -> Iterator[Standing]:
    """An interface endpoint pays in each subnet (zone) it is in; a gateway endpoint (the default) nothing."""
    kind = properties.get("VpcEndpointType", "Gateway")
    if kind == "Gateway":
        return
    if kind != "Interface":
        raise CliError(f"a VPC endpoint of type {kind!r} has no price: allowed are Gateway, Interface")
    zones = len(properties.get("SubnetIds", []))
    yield prices.INTERFACE_ENDPOINT, zones, prices.usd_per_month(prices.INTERFACE_ENDPOINT, region)


def _cache(properties: Properties, region: str) -> Iterator[Standing]:
    node, nodes = properties["CacheNodeType"], properties["NumCacheClusters"]
    each = prices.cache_node_usd_per_hour(node, region) * prices.HOURS_PER_MONTH
    yield f"cache node {node}", int(nodes), each


def _only(setting: str, allowed: str, *, default: str) -> Rule:
    """Costs what is used, as long as the setting says so; another value would stand, and has no price here."""

    def rule(properties: Properties, region: str) -> Iterator[Standing]:
        value = properties.get(setting, default)
        if value != allowed:
            raise CliError(f"{setting} {value!r} costs money while idle and has no price: allowed is {allowed!r}")
        yield from ()

    return rule


def _spark(properties: Properties, region: str) -> Iterator[Standing]:
    """Workers that are initialised ahead are paid for while they wait; without them an application costs its jobs."""
    for setting in ("InitialCapacity", "InteractiveConfiguration"):
        if properties.get(setting):
            raise CliError(f"{setting} keeps workers that cost money while idle and has no price: leave it out")
    yield from ()


STANDING: dict[str, Rule] = {
    "AWS::KMS::Key": _one(prices.KMS_KEY),
    "AWS::SecretsManager::Secret": _one(prices.SECRET),
    "AWS::CloudWatch::Dashboard": _one(prices.DASHBOARD),
    "AWS::CloudWatch::CompositeAlarm": _one(prices.COMPOSITE_ALARM),
    "AWS::CloudWatch::Alarm": _alarm,
    "AWS::EC2::VPCEndpoint": _vpc_endpoint,
    "AWS::ElastiCache::ReplicationGroup": _cache,
    "AWS::EMRServerless::Application": _spark,
    "AWS::DynamoDB::Table": _only("BillingMode", "PAY_PER_REQUEST", default="PROVISIONED"),
    "AWS::SSM::Parameter": _only("Tier", "Standard", default="Standard"),
}

# Costs what is used or nothing at all. No NAT gateway: the network has none, and one would be 33 to 45 USD a month.
NOTHING_STANDS = frozenset(
    {
        "AWS::ApiGatewayV2::Api",
        "AWS::ApiGatewayV2::Integration",
        "AWS::ApiGatewayV2::Route",
        "AWS::ApiGatewayV2::Stage",
        "AWS::CDK::Metadata",
        "AWS::CodeBuild::Project",
        "AWS::EC2::FlowLog",
        "AWS::EC2::RouteTable",
        "AWS::EC2::SecurityGroup",
        "AWS::EC2::SecurityGroupEgress",
        "AWS::EC2::SecurityGroupIngress",
        "AWS::EC2::Subnet",
        "AWS::EC2::SubnetRouteTableAssociation",
        "AWS::EC2::VPC",
        "AWS::ECR::Repository",
        "AWS::ElastiCache::SubnetGroup",
        "AWS::ElastiCache::User",
        "AWS::ElastiCache::UserGroup",
        "AWS::Events::Rule",
        "AWS::Glue::Database",
        "AWS::Glue::Table",
        "AWS::IAM::ManagedPolicy",
        "AWS::IAM::Policy",
        "AWS::IAM::Role",
        "AWS::KMS::Alias",
        "AWS::KinesisFirehose::DeliveryStream",
        "AWS::Lambda::EventSourceMapping",
        "AWS::Lambda::Function",
        "AWS::Lambda::LayerVersion",
        "AWS::Lambda::Permission",
        "AWS::Logs::LogGroup",
        "AWS::Logs::LogStream",
        "AWS::S3::Bucket",
        "AWS::S3::BucketPolicy",
        "AWS::SNS::Subscription",
        "AWS::SNS::Topic",
        "AWS::SNS::TopicPolicy",
        "AWS::SQS::Queue",
        "AWS::SQS::QueuePolicy",
        "AWS::SageMaker::FeatureGroup",
        "AWS::SageMaker::ModelPackageGroup",
        "AWS::SageMaker::Pipeline",
        "AWS::Scheduler::Schedule",
        "AWS::StepFunctions::StateMachine",
        "Custom::ContainerImage",
    }
)


def templates_of(cdk_out: Path, deployment: str) -> list[Path]:
    """The deployment's synthesised templates; none when it was not synthesised."""
    return sorted((cdk_out / f"assembly-{deployment}").glob("*.template.json"))


def standing_items(templates: Iterable[Path], region: str) -> list[IdleItem]:
    """What stands in these templates, dearest first.

    Raises
    ------
    CliError
        A resource whose type or settings are not known to cost nothing while idle, with its logical id.
    ValueError
        A price that the table does not have.
    """
    found: Counter[tuple[str, float]] = Counter()
    for path in templates:
        for logical_id, resource in json.loads(path.read_text("utf-8"))["Resources"].items():
            for what, quantity, each in _standing(f"{path.name}: {logical_id}", resource, region):
                found[what, each] += quantity
    items = [
        IdleItem(what=what, quantity=quantity, usd_per_month_each=each) for (what, each), quantity in found.items()
    ]
    return sorted(items, key=lambda item: (-item.usd_per_month, item.what))


def _standing(where: str, resource: Mapping[str, Any], region: str) -> list[Standing]:
    kind = resource["Type"]
    if kind in NOTHING_STANDS:
        return []
    if kind not in STANDING:
        raise CliError(
            f"{where} is a {kind}, of which nobody has said what it costs while idle; "
            "give it a row in STANDING or NOTHING_STANDS of cli/idle_cost.py"
        )
    try:
        return list(STANDING[kind](resource.get("Properties", {}), region))
    except KeyError as missing:
        raise CliError(f"{where} ({kind}) has no {missing}, which its price depends on") from missing
    except (CliError, ValueError) as error:
        raise CliError(f"{where}: {error}") from error

"""Dated on-demand prices, USD, from the public AWS price pages; the cost gates read nothing else.

Update the whole table and its date together; a price that is missing is an error, never zero.
Free tiers, discounts and taxes are left out: they belong to an account, not to a design.
"""

from __future__ import annotations

from collections.abc import Mapping

from contracts.deployments import DEPLOYMENTS

AS_OF = "2026-11-01"
HOURS_PER_MONTH = 730  # 8,760 hours a year by 12, as the AWS Pricing Calculator has it

SOURCES = {
    "SageMaker instances": "https://aws.amazon.com/sagemaker/ai/pricing/",
    "VPC interface endpoints": "https://aws.amazon.com/privatelink/pricing/",
    "KMS keys": "https://aws.amazon.com/kms/pricing/",
    "CloudWatch alarms and dashboards": "https://aws.amazon.com/cloudwatch/pricing/",
    "ElastiCache nodes": "https://aws.amazon.com/elasticache/pricing/",
    "secrets": "https://aws.amazon.com/secrets-manager/pricing/",
}

# instance -> region -> USD per hour (SageMaker on-demand: training, processing and hosting alike)
USD_PER_HOUR: dict[str, dict[str, float]] = {
    "ml.m5.large": {"ap-northeast-1": 0.149, "us-east-1": 0.115, "eu-west-1": 0.128},
    "ml.m5.xlarge": {"ap-northeast-1": 0.298, "us-east-1": 0.230, "eu-west-1": 0.257},
    "ml.c7i.xlarge": {"ap-northeast-1": 0.270, "us-east-1": 0.214, "eu-west-1": 0.229},
    "ml.g5.xlarge": {"ap-northeast-1": 2.044, "us-east-1": 1.408, "eu-west-1": 1.571},
}

# ElastiCache node -> region -> USD per hour (on-demand, engine Valkey: four fifths of Redis OSS). us-east-1 is from
# public tables; the other two are ESTIMATES by what these regions ask for other nodes: read the page before you rely
# on them.
CACHE_NODE_USD_PER_HOUR: dict[str, dict[str, float]] = {
    "cache.t4g.small": {"ap-northeast-1": 0.0392, "us-east-1": 0.0256, "eu-west-1": 0.0280},
}


def _everywhere(usd: float) -> dict[str, float]:
    return {deployment.region: usd for deployment in DEPLOYMENTS}


INTERFACE_ENDPOINT = "interface endpoint"  # for each availability zone it has a network interface in
KMS_KEY = "KMS key"  # any key spec; its first two yearly rotations add 1 USD each
ALARM = "alarm"  # for each metric that it watches, periods of 60 s and more
FAST_ALARM = "high-resolution alarm"  # periods of 10, 20 or 30 s
COMPOSITE_ALARM = "composite alarm"
DASHBOARD = "dashboard"
SECRET = "secret"

# what stands -> region -> USD per month
USD_PER_MONTH: dict[str, dict[str, float]] = {
    INTERFACE_ENDPOINT: {
        "ap-northeast-1": 0.014 * HOURS_PER_MONTH,
        "us-east-1": 0.010 * HOURS_PER_MONTH,
        "eu-west-1": 0.011 * HOURS_PER_MONTH,
    },
    KMS_KEY: _everywhere(1.00),
    ALARM: _everywhere(0.10),
    FAST_ALARM: _everywhere(0.30),
    COMPOSITE_ALARM: _everywhere(0.50),
    DASHBOARD: _everywhere(3.00),
    SECRET: _everywhere(0.40),
}


def _price(table: Mapping[str, Mapping[str, float]], what: str, region: str, *, kind: str) -> float:
    try:
        return table[what][region]
    except KeyError:
        regions = sorted({region for prices in table.values() for region in prices})
        raise ValueError(
            f"no price for {what!r} in {region!r} as of {AS_OF}; known {kind}: {', '.join(sorted(table)) or 'none'}; "
            f"known regions: {', '.join(regions) or 'none'}. Add it to contracts/prices.py with its date."
        ) from None


def usd_per_hour(instance_type: str, region: str) -> float:
    return _price(USD_PER_HOUR, instance_type, region, kind="instances")


def cache_node_usd_per_hour(node_type: str, region: str) -> float:
    return _price(CACHE_NODE_USD_PER_HOUR, node_type, region, kind="cache nodes")


def usd_per_month(what: str, region: str) -> float:
    """Price of one thing that costs the same whether it is used or not; `what` is a constant of this module."""
    return _price(USD_PER_MONTH, what, region, kind="things")


def training_usd(*, seconds: float, instance_type: str, instances: int, region: str) -> float:
    """Cost of one training job: billable seconds x instances x price."""
    return seconds / 3600 * instances * usd_per_hour(instance_type, region)


def serving_usd_per_100k(
    *, service_ms: float, instance_type: str, region: str, workers: int, utilisation: float
) -> float:
    """Cost of 100,000 requests on a fleet kept at `utilisation` of what its workers can answer.

    `service_ms` is the mean time one worker is busy with one request.
    """
    if not service_ms > 0 or not 0 < utilisation <= 1 or workers < 1:
        raise ValueError(
            "service_ms must be > 0, workers >= 1 and utilisation in (0, 1], got "
            f"{service_ms}, {workers}, {utilisation}"
        )
    requests_per_hour = 3_600_000 / service_ms * workers * utilisation
    return 100_000 / requests_per_hour * usd_per_hour(instance_type, region)


def target_usd_per_100k(*, invocations_per_minute: float, instance_type: str, region: str) -> float:
    """Cost of 100,000 requests on a fleet that autoscaling keeps at its target, per instance and minute."""
    if not invocations_per_minute > 0:
        raise ValueError(f"invocations_per_minute must be > 0, got {invocations_per_minute}")
    return 100_000 / (60 * invocations_per_minute) * usd_per_hour(instance_type, region)

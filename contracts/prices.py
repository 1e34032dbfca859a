"""Dated on-demand prices, USD, from the public AWS price pages; the cost gates read nothing else.

Update the whole table and its date together; a price that is missing is an error, never zero.
"""

from __future__ import annotations

AS_OF = "2026-11-01"

# instance -> region -> USD per hour (SageMaker on-demand: training, processing and hosting alike)
USD_PER_HOUR: dict[str, dict[str, float]] = {
    "ml.m5.large": {"ap-northeast-1": 0.149, "us-east-1": 0.115, "eu-west-1": 0.128},
    "ml.m5.xlarge": {"ap-northeast-1": 0.298, "us-east-1": 0.230, "eu-west-1": 0.257},
    "ml.c7i.xlarge": {"ap-northeast-1": 0.270, "us-east-1": 0.214, "eu-west-1": 0.229},
    "ml.g5.xlarge": {"ap-northeast-1": 2.044, "us-east-1": 1.408, "eu-west-1": 1.571},
}


def usd_per_hour(instance_type: str, region: str) -> float:
    try:
        return USD_PER_HOUR[instance_type][region]
    except KeyError:
        known = ", ".join(sorted(USD_PER_HOUR))
        raise ValueError(
            f"no price for {instance_type!r} in {region!r} as of {AS_OF}; known instances: {known}. "
            "Add it to contracts/prices.py with its date."
        ) from None


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

"""What serves, who holds the lease, which flags are set, what ran last."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from boto3.dynamodb.types import TypeDeserializer
from botocore.exceptions import ClientError

from cli import executions, flags
from cli.target import Target
from contracts import naming, records


@dataclass(frozen=True, kw_only=True)
class EndpointState:
    status: str
    config: str
    variants: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class StoryStatus:
    slug: str
    pointer: dict[str, Any] | None
    lease: dict[str, Any] | None
    endpoint: EndpointState
    flags: dict[str, str]
    executions: tuple[executions.Finished, ...]


def control_item(target: Target, slug: str, item: str) -> dict[str, Any] | None:
    """One record of the control table: POINTER or LEASE; None when absent."""
    answer = target.client("dynamodb").get_item(
        TableName=naming.control_table(target.deployment.name),
        ConsistentRead=True,
        Key={records.CONTROL_PARTITION_KEY: {"S": slug}, records.CONTROL_SORT_KEY: {"S": item}},
    )
    if "Item" not in answer:
        return None
    return {key: TypeDeserializer().deserialize(value) for key, value in answer["Item"].items()}


def pointer(target: Target, slug: str) -> dict[str, Any] | None:
    """What serves, by the pointer rule; None means never promoted."""
    return control_item(target, slug, records.POINTER)


def endpoint(target: Target, slug: str) -> EndpointState:
    try:
        found = target.client("sagemaker").describe_endpoint(EndpointName=naming.endpoint(slug))
    except ClientError as error:
        if error.response["Error"]["Code"] in ("ValidationException", "ResourceNotFound"):
            return EndpointState(status="absent", config="")
        raise
    return EndpointState(
        status=found["EndpointStatus"],
        config=found["EndpointConfigName"],
        variants=tuple(v["VariantName"] for v in found.get("ProductionVariants", ())),
    )


def story_status(target: Target, slug: str, *, last: int = 5) -> StoryStatus:
    ran = [executions.finished(target, e["executionArn"]) for e in executions.recent(target, slug, last)]
    return StoryStatus(
        slug=slug,
        pointer=pointer(target, slug),
        lease=control_item(target, slug, records.LEASE),
        endpoint=endpoint(target, slug),
        flags=flags.read(target),
        executions=tuple(ran),
    )

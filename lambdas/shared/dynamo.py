"""Plain dicts <-> DynamoDB items. Whole numbers come back as int."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from contracts import records


def to_item(values: Mapping[str, Any]) -> dict[str, Any]:
    from boto3.dynamodb.types import TypeSerializer

    serializer = TypeSerializer()
    return {name: serializer.serialize(value) for name, value in values.items()}


def from_item(item: Mapping[str, Any]) -> dict[str, Any]:
    from boto3.dynamodb.types import TypeDeserializer

    deserializer = TypeDeserializer()
    return {name: _plain(deserializer.deserialize(value)) for name, value in item.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return value


def control_key(story: str, item: str) -> dict[str, Any]:
    return to_item({records.CONTROL_PARTITION_KEY: story, records.CONTROL_SORT_KEY: item})


def read_control(dynamodb: Any, table: str, story: str, item: str) -> dict[str, Any] | None:
    """One item of the control table, strongly consistent, without its keys; None when absent."""
    found = dynamodb.get_item(TableName=table, Key=control_key(story, item), ConsistentRead=True).get("Item")
    if found is None:
        return None
    values = from_item(found)
    del values[records.CONTROL_PARTITION_KEY], values[records.CONTROL_SORT_KEY]
    return values

"""Pointer and audit record in one transaction, fenced by the lease."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from contracts import records
from lambdas.shared.aws import client_error, error_code
from lambdas.shared.dynamo import control_key, to_item
from lambdas.shared.errors import LeaseLost, PointerMoved

_CONDITION = "ConditionalCheckFailed"


def write(
    dynamodb: Any,
    *,
    control_table: str,
    audit_table: str,
    story: str,
    before: Mapping[str, Any] | None,
    pointer: Mapping[str, Any],
    audit: Mapping[str, Any],
) -> None:
    """All three or nothing: we hold the lease, the pointer is still `before`, the record is new.

    Raises LeaseLost or PointerMoved when a condition did not hold.
    """
    try:
        dynamodb.transact_write_items(
            TransactItems=[
                {
                    "ConditionCheck": {
                        "TableName": control_table,
                        "Key": control_key(story, records.LEASE),
                        "ConditionExpression": "#token = :token",
                        "ExpressionAttributeNames": {"#token": "token"},
                        "ExpressionAttributeValues": to_item({":token": pointer["token"]}),
                    }
                },
                {
                    "Put": {
                        "TableName": control_table,
                        "Item": {**control_key(story, records.POINTER), **to_item(pointer)},
                        **_unchanged(before),
                    }
                },
                {
                    "Put": {
                        "TableName": audit_table,
                        "Item": to_item(audit),
                        "ConditionExpression": "attribute_not_exists(id)",
                    }
                },
            ]
        )
    except client_error() as error:
        if error_code(error) != "TransactionCanceledException":
            raise
        failed = [reason.get("Code") == _CONDITION for reason in error.response["CancellationReasons"]]
        if failed[0]:
            raise LeaseLost(
                f"token {pointer['token']} of {story} is no longer the lease's: another run took over"
            ) from None
        if any(failed):
            raise PointerMoved(
                f"the pointer or audit trail of {story} changed while it was being written"
            ) from None
        raise  # a conflict with another transaction: worth a retry as it is


def _unchanged(before: Mapping[str, Any] | None) -> dict[str, Any]:
    if before is None:
        return {"ConditionExpression": "attribute_not_exists(run_id)"}
    return {
        "ConditionExpression": "run_id = :run AND version = :version",
        "ExpressionAttributeValues": to_item({":run": before["run_id"], ":version": before["version"]}),
    }

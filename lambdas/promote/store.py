"""Pointer, audit record and its link in the chain in one transaction, fenced by the lease."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from contracts import audit_table as audit_requests
from contracts import records
from lambdas.shared.audit_trail import cancelled_by, pause, read_head
from lambdas.shared.aws import client_error, error_code
from lambdas.shared.dynamo import control_key, to_item
from lambdas.shared.errors import LeaseLost, PointerMoved


def write(
    dynamodb: Any,
    *,
    control_table: str,
    audit_table: str,
    story: str,
    before: Mapping[str, Any] | None,
    pointer: Mapping[str, Any],
    audit: Mapping[str, str],
) -> None:
    """All four or nothing: we hold the lease, the pointer is still `before`, record and link are new.

    Raises LeaseLost or PointerMoved when a condition did not hold. A link that another record took meanwhile
    is no such condition: the chain's new head is read and all is tried again.
    """
    pointer_puts = _lease_and_pointer(control_table, story, before, pointer)
    for attempt in range(audit_requests.APPEND_ATTEMPTS):
        head = read_head(dynamodb, audit_table, story)
        try:
            dynamodb.transact_write_items(
                TransactItems=[*pointer_puts, *audit_requests.puts(audit_table, audit, head)]
            )
            return
        except client_error() as error:
            if error_code(error) != "TransactionCanceledException":
                raise
            failed = [code == audit_requests.CONDITION_FAILED for code in cancelled_by(error)]
            if failed[0]:
                raise LeaseLost(
                    f"token {pointer['token']} of {story} is no longer the lease's: another run took over"
                ) from None
            if any(failed[:3]):
                raise PointerMoved(
                    f"the pointer or audit trail of {story} changed while it was being written"
                ) from None
            if not failed[3] or attempt + 1 == audit_requests.APPEND_ATTEMPTS:
                raise  # a conflict with another transaction: worth a retry as it is
            pause(attempt)


def _lease_and_pointer(
    control_table: str, story: str, before: Mapping[str, Any] | None, pointer: Mapping[str, Any]
) -> list[dict[str, Any]]:
    return [
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
    ]


def _unchanged(before: Mapping[str, Any] | None) -> dict[str, Any]:
    if before is None:
        return {"ConditionExpression": "attribute_not_exists(run_id)"}
    return {
        "ConditionExpression": "run_id = :run AND version = :version",
        "ExpressionAttributeValues": to_item({":run": before["run_id"], ":version": before["version"]}),
    }

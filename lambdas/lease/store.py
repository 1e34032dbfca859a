"""The lease as a DynamoDB item."""

from __future__ import annotations

from typing import Any

from contracts import records
from lambdas.lease.logic import Lease
from lambdas.shared.aws import client_error, error_code
from lambdas.shared.dynamo import control_key, from_item, read_control, to_item

_TAKE = "SET holder = :holder, last_holder = :holder, expires_at = :expires_at ADD #token :one"


class DynamoLease:
    def __init__(self, dynamodb: Any, table: str, story: str) -> None:
        self._dynamodb, self._table, self._story = dynamodb, table, story

    def renew(self, holder: str, *, expires_at: int) -> Lease | None:
        return self._update(
            "SET expires_at = :expires_at", "holder = :holder", {":holder": holder, ":expires_at": expires_at}
        )

    def acquire(self, holder: str, *, now: int, expires_at: int, preempt: bool) -> Lease | None:
        values = {":holder": holder, ":expires_at": expires_at, ":one": 1}
        taken_from = "holder <> :holder"
        if not preempt:
            taken_from = "expires_at < :now"
            values[":now"] = now
        return self._update(
            _TAKE, f"attribute_not_exists(holder) OR {taken_from}", values, names={"#token": "token"}
        )

    def take_over(self, holder: str, *, after: str, expires_at: int) -> Lease | None:
        values = {":holder": holder, ":expires_at": expires_at, ":one": 1, ":after": after}
        return self._update(_TAKE, "holder = :after", values, names={"#token": "token"})

    def release(self, holder: str) -> bool:
        # last_holder tells a repeated give-back (its first answer was lost) from somebody else's lease
        freed = self._update(
            "REMOVE holder, expires_at",
            "holder = :holder OR (attribute_not_exists(holder) AND last_holder = :holder)",
            {":holder": holder},
        )
        return freed is not None

    def read(self) -> Lease:
        return _lease(read_control(self._dynamodb, self._table, self._story, records.LEASE) or {})

    def _update(
        self, update: str, condition: str, values: dict[str, Any], names: dict[str, str] | None = None
    ) -> Lease | None:
        optional = {"ExpressionAttributeNames": names} if names else {}
        try:
            answer = self._dynamodb.update_item(
                TableName=self._table,
                Key=control_key(self._story, records.LEASE),
                UpdateExpression=update,
                ConditionExpression=condition,
                ExpressionAttributeValues=to_item(values),
                ReturnValues="ALL_NEW",
                **optional,
            )
        except client_error() as error:
            if error_code(error) == "ConditionalCheckFailedException":
                return None
            raise
        return _lease(from_item(answer["Attributes"]))


def _lease(values: dict[str, Any]) -> Lease:
    return Lease(holder=str(values.get("holder", "")), token=int(values.get("token", 0)))

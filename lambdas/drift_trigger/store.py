"""The fleet's ledger of drift retrains: one item of the control table, written only over what was read."""

from __future__ import annotations

from typing import Any

from contracts import records
from lambdas.drift_trigger.logic import Claim, Ledger
from lambdas.shared.aws import client_error, error_code
from lambdas.shared.dynamo import control_key, read_control, to_item


class DynamoLedger:
    def __init__(self, dynamodb: Any, table: str) -> None:
        self._dynamodb, self._table = dynamodb, table

    def read(self) -> tuple[dict[str, Claim], int]:
        """(ledger, revision to write over); revision 0 when nothing was ever written."""
        found = read_control(self._dynamodb, self._table, records.FLEET, records.DRIFT_STARTS) or {}
        claims = {slug: Claim.from_dict(raw) for slug, raw in found.get("claims", {}).items()}
        return claims, int(found.get("revision", 0))

    def write(self, ledger: Ledger, revision: int) -> bool:
        """False when another story wrote since `revision` was read."""
        item = {"claims": {slug: claim.to_dict() for slug, claim in ledger.items()}, "revision": revision + 1}
        try:
            self._dynamodb.put_item(
                TableName=self._table,
                Item={**control_key(records.FLEET, records.DRIFT_STARTS), **to_item(item)},
                ConditionExpression="attribute_not_exists(revision) OR revision = :read",
                ExpressionAttributeValues=to_item({":read": revision}),
            )
        except client_error() as error:
            if error_code(error) == "ConditionalCheckFailedException":
                return False
            raise
        return True

"""{"story", "outcome", "run_id", "detail"} -> {"recorded": true}. Append-only: told twice is one record."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from contracts import events, metrics, stories
from contracts.functions import AuditEnv
from lambdas.shared.audit_record import record
from lambdas.shared.aws import client, client_error, environment, error_code
from lambdas.shared.dynamo import to_item
from lambdas.shared.errors import InvalidInput
from lambdas.shared.observability import count, instrumented


@instrumented("audit")
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    story, outcome = stories.story(event["story"]).slug, event["outcome"]
    if outcome not in events.OUTCOMES:
        raise InvalidInput(f"unknown outcome {outcome!r}: allowed are {', '.join(events.OUTCOMES)}")
    item = record(
        story=story,
        run_id=event["run_id"],
        what=outcome,
        at=datetime.now(UTC).isoformat(),
        detail=event.get("detail") or {},
    )
    try:
        client("dynamodb").put_item(
            TableName=environment(AuditEnv).AUDIT_TABLE,
            Item=to_item(item),
            ConditionExpression="attribute_not_exists(id)",
        )
    except client_error() as error:
        if error_code(error) != "ConditionalCheckFailedException":
            raise
        return {"recorded": True}  # an earlier try wrote it
    count(metrics.RETRAIN_OUTCOME, story=story, outcome=outcome)
    return {"recorded": True}

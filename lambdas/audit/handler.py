"""{"story", "outcome", "run_id", "detail"} -> {"recorded": true}. Append-only: told twice is one record.

Each record is sealed into its story's hash chain in the same transaction.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from contracts import events, metrics, stories
from contracts.functions import AuditEnv
from lambdas.shared.audit_record import record
from lambdas.shared.audit_trail import append
from lambdas.shared.aws import client, environment
from lambdas.shared.errors import InvalidInput
from lambdas.shared.observability import count, instrumented


@instrumented("audit")
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    story, outcome = stories.story(event["story"]).slug, event["outcome"]
    if outcome not in events.AUDITED:
        raise InvalidInput(f"unknown outcome {outcome!r}: allowed are {', '.join(events.AUDITED)}")
    item = record(
        story=story,
        run_id=event["run_id"],
        what=outcome,
        at=datetime.now(UTC).isoformat(),
        detail=event.get("detail") or {},
    )
    # False: an earlier try wrote it, and counted it.
    if append(client("dynamodb"), environment(AuditEnv).AUDIT_TABLE, item) and outcome in events.OUTCOMES:
        count(metrics.RETRAIN_OUTCOME, story=story, outcome=outcome)
    return {"recorded": True}

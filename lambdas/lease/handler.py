"""{"action": "take"|"give_back", "story", "holder", "preempt"?} ->
{"leased", "token", "holder"} or {"released"}.
"""

from __future__ import annotations

import time
from typing import Any

from contracts import stories
from contracts.functions import LeaseEnv
from lambdas.lease.logic import take
from lambdas.lease.store import DynamoLease
from lambdas.shared.aws import aws_errors, client, environment
from lambdas.shared.errors import InvalidInput
from lambdas.shared.observability import instrumented, logger

_ENDED = ("SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED")


@instrumented("lease")
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    env = environment(LeaseEnv)
    story = stories.story(event["story"]).slug
    store, holder = DynamoLease(client("dynamodb"), env.CONTROL_TABLE, story), event["holder"]
    if event["action"] == "take":
        leased, lease = take(
            store,
            holder=holder,
            now=int(time.time()),
            ttl_s=env.LEASE_TTL_S,
            preempt=bool(event.get("preempt", False)),
            has_ended=_has_ended,
        )
        return {"leased": leased, "token": lease.token, "holder": lease.holder}
    if event["action"] == "give_back":
        return {"released": store.release(holder)}
    raise InvalidInput(f"action must be take or give_back, got {event['action']!r}")


def _has_ended(holder: str) -> bool:
    """Holders are executions. One that can't be found or asked about holds on."""
    try:
        status = client("stepfunctions").describe_execution(executionArn=holder)["status"]
    except aws_errors() as error:
        logger.info("the lease's holder could not be asked about", error=type(error).__name__)
        return False
    return status in _ENDED

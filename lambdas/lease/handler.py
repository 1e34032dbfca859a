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
from lambdas.shared.aws import client, environment
from lambdas.shared.errors import InvalidInput
from lambdas.shared.observability import instrumented


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
        )
        return {"leased": leased, "token": lease.token, "holder": lease.holder}
    if event["action"] == "give_back":
        return {"released": store.release(holder)}
    raise InvalidInput(f"action must be take or give_back, got {event['action']!r}")

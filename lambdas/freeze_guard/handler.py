"""Parameter Store Change of global_ml_freeze -> {"aborted": [story, ...]}.

Reads the flag itself: the event says that it changed, perhaps twice and perhaps late, not what it is now.
"""

from __future__ import annotations

from typing import Any

from contracts import metrics, naming, stories
from contracts.kill_switches import GLOBAL_FREEZE, parse_flag
from lambdas.freeze_guard.logic import canary_in_flight, concerns_freeze
from lambdas.shared import endpoints
from lambdas.shared.aws import client
from lambdas.shared.flags import read_flags
from lambdas.shared.observability import count, instrumented, put_metric


@instrumented("freeze_guard")
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    if not concerns_freeze(event):
        return {"aborted": []}
    frozen = parse_flag(read_flags((GLOBAL_FREEZE,))[GLOBAL_FREEZE.name])
    if frozen is None:
        for slug in stories.CONTRACTS:
            count(metrics.FLAG_FALLBACK, story=slug, flag=GLOBAL_FREEZE.name)
    if not frozen:
        return {"aborted": []}
    aborted = [
        slug
        for slug in stories.CONTRACTS
        if canary_in_flight(endpoints.describe(client("sagemaker"), naming.endpoint(slug)))
    ]
    if aborted:
        put_metric(client("cloudwatch"), [(metrics.CANARY_ABORT, 1, {"story": slug}) for slug in aborted])
    return {"aborted": aborted}

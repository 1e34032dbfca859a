"""API Gateway HTTP APIs: a function is called only with its permission, and a throttled stage says so.

ministack invokes whatever function an integration names. On AWS a missing permission is a 500 without any word of why,
so here it is one, too, and the reason is in the log.
"""

from __future__ import annotations

import json
import logging
import time
from typing import Any

from local.config import LocalConfig

_LOG = logging.getLogger("local.gateway")
_SERVICE, _ACTION = "apigateway.amazonaws.com", "lambda:InvokeFunction"
Answer = tuple[int, dict[str, str], bytes]


def install(config: LocalConfig) -> None:
    from ministack.services import apigateway

    invoke = apigateway._invoke_lambda_proxy
    buckets: dict[tuple[str, str], tuple[float, float]] = {}

    async def invoke_lambda_proxy(integration: dict[str, Any], api_id: str, stage: str, path: str, method: str,
                                  headers: Any, body: Any, query: Any, route_key: str, *rest: Any,
                                  **more: Any) -> Answer:
        if not _room(buckets, api_id, stage):
            return _answer(429, "Too Many Requests")
        # the source is the route as it is declared, {parameters} included
        route = route_key.replace(" ", "")
        source = f"arn:aws:execute-api:{config.region}:{config.account}:{api_id}/{stage}/{route}"
        if not _may_invoke(apigateway._extract_lambda_ref_from_integration_uri(integration["integrationUri"]), source):
            _LOG.warning("%s may not invoke %s: its policy does not allow %s", source, integration["integrationUri"],
                         _SERVICE)
            return _answer(500, "Internal Server Error")
        found: Answer = await invoke(integration, api_id, stage, path, method, headers, body, query, route_key,
                                     *rest, **more)
        if found[0] == 502 and b'"errorType"' in found[2]:
            return _answer(500, "Internal Server Error")  # what the function raised is not the caller's to read
        return found

    apigateway._invoke_lambda_proxy = invoke_lambda_proxy


def _room(buckets: dict[tuple[str, str], tuple[float, float]], api_id: str, stage: str) -> bool:
    """A token bucket as the stage's default route settings describe it; without settings there is always room."""
    from ministack.services import apigateway

    settings = (apigateway._stages.get(api_id, {}).get(stage) or {}).get("defaultRouteSettings") or {}
    names = {name.lower(): float(value) for name, value in settings.items() if "hrottling" in name}
    rate, burst = names.get("throttlingratelimit"), names.get("throttlingburstlimit")
    if rate is None or burst is None:
        return True
    now = time.monotonic()
    left, seen = buckets.get((api_id, stage), (burst, now))
    left = min(burst, left + (now - seen) * rate)
    buckets[api_id, stage] = (left - 1 if left >= 1 else left, now)  # what is refused takes nothing
    return left >= 1


def _may_invoke(function: str, source: str) -> bool:
    from ministack.core import iam_evaluator
    from ministack.core.responses import get_account_id, get_region

    found = iam_evaluator._resource_policy("lambda", function)
    if found is None:
        return False
    context = iam_evaluator.EvalContext(
        principal_arn="", principal_type="Service", principal_account=get_account_id(), action=_ACTION,
        resource_arn=function, region=get_region(), principal_keys={},
        service_context={"aws:sourcearn": source, "aws:sourceaccount": get_account_id(), "aws:securetransport": "true"})
    decision = iam_evaluator.evaluate_resource_policy(found[0], context, service=_SERVICE).decision
    return bool(decision == "Allow")


def _answer(status: int, message: str) -> Answer:
    return status, {"Content-Type": "application/json"}, json.dumps({"message": message}).encode()

"""Saved CloudWatch Logs Insights queries: the three API calls that ministack's Logs lacks."""

from __future__ import annotations

import json
import time
import uuid
from typing import Any

from local.config import LocalConfig

_queries: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}  # (account, region) -> id -> definition


def install(config: LocalConfig) -> None:
    from ministack.services import cloudwatch_logs

    original = cloudwatch_logs.handle_request
    actions = {"PutQueryDefinition": _put, "DescribeQueryDefinitions": _describe, "DeleteQueryDefinition": _delete}

    async def handle_request(method: str, path: str, headers: dict[str, str], body: bytes, query: Any) -> Any:
        action = actions.get(headers.get("x-amz-target", "").rpartition(".")[2])
        if action is None:
            return await original(method, path, headers, body, query)
        return action(json.loads(body or b"{}"))

    cloudwatch_logs.handle_request = handle_request


def _store() -> dict[str, dict[str, Any]]:
    from ministack.core.responses import get_account_id, get_region

    return _queries.setdefault((get_account_id(), get_region()), {})


def _put(data: dict[str, Any]) -> Any:
    from ministack.core.responses import error_response_json, json_response

    query_id = data.get("queryDefinitionId") or str(uuid.uuid4())
    if data.get("queryDefinitionId") and query_id not in _store():
        return error_response_json("ResourceNotFoundException", f"there is no query definition {query_id}", 400)
    _store()[query_id] = {**data, "queryDefinitionId": query_id, "lastModified": int(time.time() * 1000)}
    return json_response({"queryDefinitionId": query_id})


def _describe(data: dict[str, Any]) -> Any:
    from ministack.core.responses import json_response

    prefix = data.get("queryDefinitionNamePrefix", "")
    return json_response({"queryDefinitions": [q for q in _store().values() if q["name"].startswith(prefix)]})


def _delete(data: dict[str, Any]) -> Any:
    from ministack.core.responses import error_response_json, json_response

    if _store().pop(data.get("queryDefinitionId", ""), None) is None:
        return error_response_json("ResourceNotFoundException", "there is no such query definition", 400)
    return json_response({"success": True})

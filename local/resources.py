"""Resources of calls that ministack would authorise on something else: names in a list, a database taken for a table.

The first name of a list stands for the request; api_actions asks for the others.
"""

from __future__ import annotations

import json
from typing import Any

from local.config import LocalConfig

# (service, operation) -> (request member, what stands before the name in the ARN)
_CALLS = {
    ("ecr", "DescribeRepositories"): ("repositoryNames", "repository/"),
    ("ssm", "GetParameters"): ("Names", "parameter"),  # a name starts with its own slash
    ("codebuild", "BatchGetProjects"): ("names", "project/"),
    ("codebuild", "BatchGetBuilds"): ("ids", "project/"),  # an id is PROJECT:UUID
    ("glue", "GetDatabase"): ("Name", "database/"),
    ("glue", "DeleteDatabase"): ("Name", "database/"),
    ("glue", "UpdateDatabase"): ("Name", "database/"),
    ("monitoring", "DescribeAlarms"): ("AlarmNames", "alarm:"),
}


def resource_arn(service: str, headers: dict[str, str], body: bytes, region: str, account: str) -> str | None:
    """The resource; None when the call is none of ours."""
    if service == "application-autoscaling":  # on AWS an id of its own; a role can only name it by a wildcard
        return f"arn:aws:{service}:{region}:{account}:scalable-target/embedded"
    found = _CALLS.get((service, headers.get("x-amz-target", "").rpartition(".")[2]))
    if found is None:
        return None
    member, prefix = found
    named = json.loads(body or b"{}").get(member) or []
    name = named if isinstance(named, str) else next(iter(named), "")
    owner = {"monitoring": "cloudwatch"}.get(service, service)
    return f"arn:aws:{owner}:{region}:{account}:{prefix}{name.split(':')[0]}" if name else None


def condition_keys(action: str, body: bytes, params: dict[str, Any]) -> dict[str, str]:
    """Values of service-specific condition keys that ministack does not offer to policies."""
    if action in ("kms:Sign", "kms:Verify"):
        request = json.loads(body or b"{}")
        return {"kms:MessageType": request.get("MessageType", "RAW"),
                "kms:SigningAlgorithm": request.get("SigningAlgorithm", "")}
    if action == "cloudwatch:PutMetricData":
        # The SDK speaks JSON, older ones form-encoded; ministack reads both.
        named = json.loads(body).get("Namespace", "") if body[:1] == b"{" else params.get("Namespace", "")
        return {"cloudwatch:namespace": named[0] if isinstance(named, list) else named}
    return {}


def install(config: LocalConfig) -> None:
    from ministack.core import iam_actions

    original = iam_actions.extract_resource_arn

    def wrapped(service: str, method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, Any],
                region: str, account: str) -> Any:
        found = resource_arn(service, headers, body, region, account)
        return found or original(service, method, path, headers, body, query, region, account)

    iam_actions.extract_resource_arn = wrapped
    tags = iam_actions.request_tag_context

    def context(service: str, action: str, body: bytes, params: dict[str, Any]) -> dict[str, Any]:
        return {**tags(service, action, body, params), **condition_keys(action, body, params)}

    iam_actions.request_tag_context = context

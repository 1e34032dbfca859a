"""Resources of calls that ministack would authorise on something else: names in a list, a database taken for a table.

The first name of a list stands for the request.
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
}


def resource_arn(service: str, headers: dict[str, str], body: bytes, region: str, account: str) -> str | None:
    """The resource; None when the call is none of ours."""
    found = _CALLS.get((service, headers.get("x-amz-target", "").rpartition(".")[2]))
    if found is None:
        return None
    member, prefix = found
    named = json.loads(body or b"{}").get(member) or []
    name = named if isinstance(named, str) else next(iter(named), "")
    return f"arn:aws:{service}:{region}:{account}:{prefix}{name.split(':')[0]}" if name else None


def install(config: LocalConfig) -> None:
    from ministack.core import iam_actions

    original = iam_actions.extract_resource_arn

    def wrapped(service: str, method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, Any],
                region: str, account: str) -> Any:
        found = resource_arn(service, headers, body, region, account)
        return found or original(service, method, path, headers, body, query, region, account)

    iam_actions.extract_resource_arn = wrapped

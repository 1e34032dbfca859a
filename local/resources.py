"""Resources of calls that name several things in one list; ministack would authorise them on `*`.

The first name stands for the request: the tests of a least-privilege role ask for one at a time.
"""

from __future__ import annotations

import json
from typing import Any

from local.config import LocalConfig

# (service, operation) -> (request member, what stands before the name in the ARN)
_LISTS = {
    ("ecr", "DescribeRepositories"): ("repositoryNames", "repository/"),
    ("codebuild", "BatchGetProjects"): ("names", "project/"),
    ("codebuild", "BatchGetBuilds"): ("ids", "project/"),  # an id is PROJECT:UUID
}


def resource_arn(service: str, headers: dict[str, str], body: bytes, region: str, account: str) -> str | None:
    """The first of the listed resources; None when the call is none of ours."""
    found = _LISTS.get((service, headers.get("x-amz-target", "").rpartition(".")[2]))
    if found is None:
        return None
    member, prefix = found
    names = json.loads(body or b"{}").get(member) or []
    return f"arn:aws:{service}:{region}:{account}:{prefix}{names[0].split(':')[0]}" if names else None


def install(config: LocalConfig) -> None:
    from ministack.core import iam_actions

    original = iam_actions.extract_resource_arn

    def wrapped(service: str, method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, Any],
                region: str, account: str) -> Any:
        found = resource_arn(service, headers, body, region, account)
        return found or original(service, method, path, headers, body, query, region, account)

    iam_actions.extract_resource_arn = wrapped

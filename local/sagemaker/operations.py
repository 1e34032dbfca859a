"""The operations this service has; modules add theirs with @operation.

`members` lists the request members that are supported, as dotted paths; a path stands for all below it. What is
not listed is refused by name when a request carries it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Handler = Callable[[dict[str, Any]], dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Operation:
    name: str
    service: str
    members: frozenset[str]
    handler: Handler


OPERATIONS: dict[str, Operation] = {}
PAGE = "NextToken MaxResults SortBy SortOrder NameContains StatusEquals"
TIMES = "CreationTimeAfter CreationTimeBefore LastModifiedTimeAfter LastModifiedTimeBefore"


def operation(name: str, members: str, *, service: str = "sagemaker") -> Callable[[Handler], Handler]:
    def add(handler: Handler) -> Handler:
        OPERATIONS[name] = Operation(
            name=name, service=service, members=frozenset(members.split()), handler=handler
        )
        return handler

    return add

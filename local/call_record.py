"""Which role asked for what: DATA_DIR/iam_calls.jsonl, one line per distinct question to IAM, refused ones included.

Written where a decision is made, so that it holds what IAM is asked (s3:GetObject), not what the API is called
(HeadObject). Root is asked nothing and leaves no line. A line is written when its count reaches a power of ten:
the last one of a kind says how often at least.
"""

from __future__ import annotations

import contextvars
import json
import threading
from collections import Counter
from pathlib import Path
from typing import Any

from local.config import LocalConfig

FILE = "iam_calls.jsonl"
# What differs from call to call and that no policy can be written for by heart (keys of items, tags of a request).
_LEFT_OUT = ("dynamodb:", "aws:tagkeys", "aws:requesttag/", "aws:resourcetag/", "aws:principal", "aws:userid")

_inside: contextvars.ContextVar[bool] = contextvars.ContextVar("_inside", default=False)


class CallRecord:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()

    def note(self, *, principal: str, action: str, resource: str, region: str, context: dict[str, Any]) -> None:
        """`principal` is a role's ARN or a service (events.amazonaws.com)."""
        line = {"principal": principal, "action": action, "resource": resource, "region": region,
                "context": {key: value for key, value in sorted(context.items())
                            if value is not None and not key.lower().startswith(_LEFT_OUT)}}
        key = json.dumps(line, sort_keys=True, default=str)
        with self._lock:
            self._counts[key] += 1
            count = self._counts[key]
            if count == 10 ** (len(str(count)) - 1):
                with self._path.open("a", encoding="utf-8") as file:
                    file.write(json.dumps({**json.loads(key), "count": count}) + "\n")


def read(path: Path) -> list[dict[str, Any]]:
    """The distinct calls, each with the largest count that was written, in the order of their first line."""
    found: dict[str, dict[str, Any]] = {}
    for text in path.read_text("utf-8").splitlines():
        line = json.loads(text)
        count = line.pop("count")
        found[json.dumps(line, sort_keys=True)] = {**line, "count": count}
    return list(found.values())


def install(config: LocalConfig) -> None:
    from ministack.core import iam_evaluator

    record = CallRecord(config.data_dir / FILE)
    by_identity, by_resource = iam_evaluator.evaluate, iam_evaluator.evaluate_resource_policy

    def context_of(asked: Any) -> dict[str, Any]:
        return {**asked.service_context, "aws:securetransport": str(asked.secure_transport).lower()}

    def evaluate(asked: Any, *policies: Any) -> Any:
        if ":assumed-role/" in asked.principal_arn and not _inside.get():
            record.note(principal=_role_arn(asked.principal_arn), action=asked.action, resource=asked.resource_arn,
                        region=asked.region, context=context_of(asked))
        return by_identity(asked, *policies)

    def evaluate_resource_policy(document: Any, asked: Any, **more: Any) -> Any:
        if more.get("service"):  # a service that calls by itself; whatever has a role came through `evaluate`
            record.note(principal=more["service"], action=asked.action, resource=asked.resource_arn,
                        region=asked.region, context=context_of(asked))
        token = _inside.set(True)  # it asks `evaluate` about the same call once more
        try:
            return by_resource(document, asked, **more)
        finally:
            _inside.reset(token)

    iam_evaluator.evaluate = evaluate
    iam_evaluator.evaluate_resource_policy = evaluate_resource_policy


def _role_arn(session_arn: str) -> str:
    account, name = session_arn.split(":")[4], session_arn.split("/")[1]
    return f"arn:aws:iam::{account}:role/{name}"

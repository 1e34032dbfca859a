"""All resources of the embedded SageMaker, by account and region of the request.

Records are plain dicts in the shape of the Describe answers; keys that begin with `_` are ours and are
never answered. LOCK guards records; it is never held across a network call or a subprocess.
"""

from __future__ import annotations

import contextvars
import logging
import threading
import time
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ministack.core.responses import AccountRegionScopedDict, get_account_id, get_region

if TYPE_CHECKING:
    from local.config import LocalConfig

logger = logging.getLogger("sagemaker")
LOCK = threading.RLock()

KINDS = (
    "training-job", "processing-job", "transform-job", "model", "endpoint-config", "endpoint",
    "model-package-group", "model-package", "pipeline", "pipeline-execution", "feature-group", "tags",
    "records",
)
_stores: dict[str, Any] = {kind: AccountRegionScopedDict() for kind in KINDS}
_config: LocalConfig | None = None


def configure(config: LocalConfig) -> None:
    global _config
    _config = config


def config() -> LocalConfig:
    if _config is None:
        raise RuntimeError("local.sagemaker.register(config) must run before the service is used")
    return _config


def store(kind: str) -> Any:
    """The records of one kind that the current account and region own, as a dict by name."""
    return _stores[kind]


def snapshot() -> dict[str, Any]:
    """What survives a restart, without what only lives in memory."""
    with LOCK:
        return dict(_stores)


def restore(saved: dict[str, Any]) -> None:
    for kind, records in saved.items():
        if kind in _stores:
            _stores[kind].update(records)


def everywhere(kind: str) -> list[tuple[tuple[str, str], dict[str, Any]]]:
    """Every record of a kind with its (account, region), whatever the current request's are."""
    return [((key[0], key[1]), record) for key, record in list(_stores[kind]._data.items())]


def clear() -> None:
    with LOCK:
        for records in _stores.values():
            records.clear()


def arn(kind: str, name: str) -> str:
    return f"arn:aws:sagemaker:{get_region()}:{get_account_id()}:{kind}/{name}"


def arn_name(value: str, kind: str) -> str:
    """The name in `value`, which callers may give as a name or as an ARN of this kind."""
    marker = f":{kind}/"
    return value.split(marker, 1)[1] if value.startswith("arn:") and marker in value else value


def now() -> float:
    return round(time.time(), 3)


def new_id(length: int = 12) -> str:
    return uuid.uuid4().hex[:length]


def public(record: dict[str, Any]) -> dict[str, Any]:
    """The record as a Describe answer: without our own keys and without absent values."""
    return {k: v for k, v in record.items() if not k.startswith("_") and v is not None}


def background(work: Callable[[], None], *, name: str) -> threading.Thread:
    """Run `work` in a thread that sees the account and region of the current request."""
    context = contextvars.copy_context()

    def run() -> None:
        try:
            context.run(work)
        except Exception:
            logger.exception("background work %s failed", name)

    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    return thread


def listing(
    records: list[dict[str, Any]], request: dict[str, Any], *, answer: str, summary: tuple[str, ...],
    time_key: str = "CreationTime", order: str = "Descending",
) -> dict[str, Any]:
    """One page of a List call: NameContains, StatusEquals, time window, sort and NextToken."""
    rows = [public(r) for r in records if _matches(r, request)]
    by = "_name" if request.get("SortBy") in ("Name", "Domain") else time_key
    rows.sort(
        key=lambda r: (str(_name(r)) if by == "_name" else r.get(time_key, 0), str(_name(r))),
        reverse=request.get("SortOrder", order) == "Descending",
    )
    start, size = int(request.get("NextToken") or 0), int(request.get("MaxResults") or 100)
    page = [{k: r[k] for k in summary if k in r} for r in rows[start : start + size]]
    more = {"NextToken": str(start + size)} if start + size < len(rows) else {}
    return {answer: page, **more}


def _name(record: dict[str, Any]) -> str:
    return next((v for k, v in record.items() if k.endswith("Name") and isinstance(v, str)), "")


def _matches(record: dict[str, Any], request: dict[str, Any]) -> bool:
    created, changed = record.get("CreationTime", 0), record.get("LastModifiedTime", 0)
    status = [v for k, v in record.items() if k.endswith("Status") and not k.startswith("Secondary")]
    return (
        request.get("NameContains", "").lower() in _name(record).lower()
        and ("StatusEquals" not in request or request["StatusEquals"] in status)
        and created >= request.get("CreationTimeAfter", 0)
        and created <= request.get("CreationTimeBefore", float("inf"))
        and changed >= request.get("LastModifiedTimeAfter", 0)
        and changed <= request.get("LastModifiedTimeBefore", float("inf"))
    )

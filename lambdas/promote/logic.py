"""The next pointer, from the pointer as it is and what the run brings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lambdas.shared.errors import InvalidInput, NeverPromoted, PointerMoved

# What one version is; `previous` holds a full copy, so that going back needs nothing else, and that
# copy holds its own `previous`: going back twice goes further back, never forward to what was left.
VERSION_FIELDS: tuple[str, ...] = (
    "version",
    "model_uri",
    "manifest_sha256",
    "model_package_arn",
    "label_version_to",
    "verdict_uri",
)
KINDS: tuple[str, ...] = ("promote", "rollback")
HISTORY = 3  # versions one can go back through


def next_pointer(pointer: Mapping[str, Any] | None, event: Mapping[str, Any], *, at: str) -> dict[str, Any]:
    """The pointer to write.

    Raises
    ------
    NeverPromoted
        A roll-back with no previous version.
    PointerMoved
        The version that was released is not the previous one any more.
    """
    kind = event.get("kind", "promote")
    if kind not in KINDS:
        raise InvalidInput(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")
    if kind == "promote":
        missing = [name for name in VERSION_FIELDS if event.get(name) is None]
        if missing:
            raise InvalidInput(f"promote needs {', '.join(missing)}")
        chosen = {name: str(event[name]) for name in VERSION_FIELDS}
        behind, left = _with_history(pointer, HISTORY), None
    else:
        previous = (pointer or {}).get("previous")
        if not previous:
            raise NeverPromoted(f"{event['story']} has no previous version to roll back to")
        chosen = _version(previous)
        behind, left = _with_history(previous.get("previous"), HISTORY), _version(pointer or {})
        if chosen["version"] != str(event["version"]):
            raise PointerMoved(
                f"version {event['version']} was released, but the previous one is {chosen['version']}"
            )
    return {
        **chosen,
        "previous": behind,
        "rolled_back_from": left,
        "promoted_at": at,
        "run_id": str(event["run_id"]),
        "token": int(event["token"]),
        "kind": kind,
    }


def _with_history(pointer: Mapping[str, Any] | None, depth: int) -> dict[str, Any] | None:
    """A version with the versions before it, `depth` of them in all."""
    if not pointer or depth == 0:
        return None
    return {**_version(pointer), "previous": _with_history(pointer.get("previous"), depth - 1)}


def _version(values: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(values[name]) for name in VERSION_FIELDS}


def is_done(pointer: Mapping[str, Any] | None, event: Mapping[str, Any]) -> bool:
    """Whether an earlier try of this very run wrote the pointer; its answer was lost."""
    return (
        pointer is not None
        and pointer["run_id"] == event["run_id"]
        and pointer["kind"] == event.get("kind", "promote")
        and pointer["version"] == str(event["version"])
    )


def approvals(pointer: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(package ARN, status) that the registry should show for this pointer."""
    decided = [(str(pointer["model_package_arn"]), "Approved")]
    if pointer["kind"] == "rollback":
        decided.append((str(pointer["rolled_back_from"]["model_package_arn"]), "Rejected"))
    return decided

"""When the global freeze goes on, a canary in flight is called back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from contracts import events
from contracts.kill_switches import GLOBAL_FREEZE
from lambdas.shared import endpoints
from lambdas.shared.endpoints import EndpointState


def concerns_freeze(event: Mapping[str, Any]) -> bool:
    return (
        event.get("detail-type") == events.PARAMETER_STORE_CHANGE
        and (event.get("detail") or {}).get("name") == GLOBAL_FREEZE.parameter
    )


def canary_in_flight(state: EndpointState | None) -> bool:
    """Only an update can be aborted; a first creation has nothing to go back to."""
    return state is not None and state.status == endpoints.UPDATING

"""{"story"} -> contracts.kill_switches.Decision as a dict, read afresh at every call."""

from __future__ import annotations

from typing import Any

from lambdas.shared.flags import current_decision
from lambdas.shared.observability import instrumented


@instrumented("kill_switches")
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    return current_decision(event["story"]).to_dict()

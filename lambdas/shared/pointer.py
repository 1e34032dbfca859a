"""What serves, as the control table names it: read here, written only by promote."""

from __future__ import annotations

from typing import Any

from contracts import records
from lambdas.shared.dynamo import read_control


def read_pointer(dynamodb: Any, table: str, story: str) -> dict[str, Any] | None:
    """The POINTER item; None when the story was never promoted."""
    return read_control(dynamodb, table, story, records.POINTER)

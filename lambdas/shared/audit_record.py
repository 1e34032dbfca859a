"""One audit record: what happened to a model, when, and in which run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from contracts import records

MAX_DETAIL_BYTES = 64_000  # a DynamoDB item has 400 KB; a record that long would be read by nobody


def record(*, story: str, run_id: str, what: str, at: str, detail: Mapping[str, Any]) -> dict[str, str]:
    """The record as stored. `detail` is JSON text: DynamoDB knows no floats, and readers want them exact."""
    text = json.dumps(detail, sort_keys=True, ensure_ascii=False, default=str)
    if len(text.encode()) > MAX_DETAIL_BYTES:
        text = json.dumps(
            {"cut": f"the detail had more than {MAX_DETAIL_BYTES} bytes", "keys": sorted(detail)}
        )
    return {
        records.AUDIT_PARTITION_KEY: story,
        records.AUDIT_SORT_KEY: records.audit_id(run_id, what),
        "run_id": run_id,
        "what": what,
        "at": at,
        "detail": text,
    }

"""Snapshots that change when a template's meaning changes, and not when a comment does.

Hashes of assets are masked; state machines and pipelines, which templates hold as one long
string, are shown as the JSON they are.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "snapshots"
_HASH = re.compile(r"\b[0-9a-f]{64}\b")
_BOOTSTRAP = ("BootstrapVersion", "CheckBootstrapVersion")  # CDK's own, not ours


def normalise(template: dict[str, Any]) -> str:
    shown = {section: {k: v for k, v in body.items() if k not in _BOOTSTRAP} if isinstance(body, dict) else body
             for section, body in template.items()}
    return json.dumps(_walk({k: v for k, v in shown.items() if v}), indent=1, sort_keys=True) + "\n"


def _walk(node: Any, name: str = "") -> Any:
    if isinstance(node, dict):
        if node.get("Name") == "IMAGE_TAG":
            return {**node, "Value": "HASH"}
        return {key: "HASH" if key == "Tag" and isinstance(value, str) else _walk(value, key)
                for key, value in node.items()}
    if isinstance(node, list):
        return [_walk(item) for item in node]
    if isinstance(node, str):
        if name in ("DefinitionString", "DashboardBody") and node.startswith("{"):
            return json.loads(node)
        return _HASH.sub("HASH", node)
    return node


def difference(path: Path, now: str) -> list[str]:
    """Unified diff of a snapshot with what is there now; empty when they agree."""
    import difflib

    if not path.exists():
        return [f"{path.name} does not exist: run pytest with --update-snapshots and review what it writes"]
    before = path.read_text("utf-8")
    return list(difflib.unified_diff(before.splitlines(), now.splitlines(), "snapshot", "now", lineterm="", n=3))

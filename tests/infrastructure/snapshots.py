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
_JSON_TEXTS = ("DefinitionString", "DashboardBody", "PipelineDefinitionBody")
_BOOTSTRAP = ("BootstrapVersion", "CheckBootstrapVersion")  # CDK's own, not ours


def flat(node: Any) -> str:
    """Text of a joined string; what is known only at deploy time stands in angle brackets."""
    if isinstance(node, str):
        return node
    ((function, value),) = node.items()
    if function == "Fn::Join":
        separator, parts = value
        return str(separator).join(flat(part) for part in parts)
    return f"<{function} {value}>".replace('"', "'").replace("\\", "")


def normalise(template: dict[str, Any]) -> str:
    shown = {section: {k: v for k, v in body.items() if k not in _BOOTSTRAP} if isinstance(body, dict) else body
             for section, body in template.items()}
    return json.dumps(_walk({k: v for k, v in shown.items() if v}), indent=1, sort_keys=True) + "\n"


def _walk(node: Any, name: str = "") -> Any:
    if isinstance(node, dict):
        if name in _JSON_TEXTS and "Fn::Join" in node:
            return json.loads(flat(node))
        if node.get("Name") == "IMAGE_TAG":
            return {**node, "Value": "HASH"}
        return {key: "HASH" if key == "Tag" and isinstance(value, str) else _walk(value, key)
                for key, value in node.items()}
    if isinstance(node, list):
        return [_walk(item) for item in node]
    if isinstance(node, str):
        if name in _JSON_TEXTS:
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

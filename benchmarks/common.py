"""What every benchmark shares: the result file in the shape of design.md, and what machine this is.

A benchmark measures us beside a peer in the same run, so that a slow or busy machine slows both.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "build" / "bench"


def machine() -> str:
    """Processor, cores and Python, for example `AMD EPYC 9R14, 2 cores, Linux, Python 3.11.9`."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        model = lines[0].split(":", 1)[1].strip() if lines else model
    return f"{model}, {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"


def ratio_to_best_peer(ours: float, peers: Mapping[str, float], better: str) -> float | None:
    """ours / best peer; None without peers or when the best peer is 0."""
    if not peers:
        return None
    best = min(peers.values()) if better == "lower" else max(peers.values())
    return ours / best if best else None


def write(
    name: str, *, unit: str, better: str, ours: float, peers: Mapping[str, float], workload: str,
    limits: Mapping[str, bool] | None = None, extra: Mapping[str, object] | None = None,
) -> Path:
    """Write build/bench/NAME.json (whole or not at all) and print it in one line.

    Parameters
    ----------
    better : "lower" or "higher"
    peers : what else was measured in this very run, name -> value in the same unit
    limits : what is asked of the number, in words -> whether it held
    extra : more fields, for example a spread
    """
    if better not in ("lower", "higher"):
        raise ValueError(f"better must be lower or higher, got {better!r}")
    result = {
        "name": name, "unit": unit, "better": better, "ours": ours, "peers": dict(peers),
        "ratio_to_best_peer": ratio_to_best_peer(ours, peers, better), "workload": workload, "machine": machine(),
        "limits": dict(limits or {}), **(extra or {}),
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{name}.json"
    part = path.with_suffix(".part")
    part.write_text(json.dumps(result, indent=1) + "\n", "utf-8")
    part.replace(path)
    shown = ", ".join(f"{peer} {value:.4g}" for peer, value in peers.items())
    print(f"{name}: {ours:.4g} {unit}{f' ({shown})' if shown else ''}", flush=True)
    return path

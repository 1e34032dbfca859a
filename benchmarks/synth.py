"""synth_seconds: `cdk synth` of all three deployments, whole process, beside an app of bare L1 resources.

Both run through the CDK CLI into an empty folder, in turns; the median of each counts. Ours runs as
cdk.json says, the peer as CDK's own template for Python apps does; a second peer, with our flags, is reported.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from benchmarks.common import ROOT, write

ROUNDS = 5
LIMIT_S, LIMIT_RATIO = 20.0, 1.5


def _cdk(command: str, output: Path, environment: dict[str, str]) -> tuple[float, float]:
    """(wall clock, processor) seconds of one synth; the second says what a busy machine hides."""
    shutil.rmtree(output, ignore_errors=True)
    cli = ROOT / "node_modules" / ".bin" / "cdk"
    if not cli.exists():
        raise FileNotFoundError(f"{cli.relative_to(ROOT)} is missing: run `make setup`")
    # Neither side compiles its modules anew each time, also where the environment keeps Python from writing them.
    environment = {**os.environ, **environment, "PYTHONPYCACHEPREFIX": str(output.parent / "pycache")}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    started, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([str(cli), "synth", "--quiet", "--app", command, "--output", str(output)], cwd=ROOT, check=True,
                   env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _counts(output: Path) -> dict[str, dict[str, int]]:
    """STAGE/STACK -> type -> number of resources."""
    found = {}
    for path in sorted(output.glob("assembly-*/*.template.json")):
        resources = json.loads(path.read_text("utf-8"))["Resources"].values()
        stage = path.parent.name.removeprefix("assembly-")
        found[f"{stage}/{path.name.split('.')[0]}"] = dict(sorted(Counter(r["Type"] for r in resources).items()))
    return found


def _ours() -> str:
    """The command of cdk.json, with this interpreter."""
    _, *arguments = json.loads((ROOT / "cdk.json").read_text("utf-8"))["app"].split()
    return " ".join([sys.executable, *arguments])


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        ours_app, peer_app = _ours(), f"{sys.executable} benchmarks/synth_peer_app.py"
        flagged_app = ours_app.replace("app.py", "benchmarks/synth_peer_app.py")
        environment = {"PEER_COUNTS": str(folder / "counts.json")}
        _cdk(ours_app, folder / "ours", {})  # fills Python's and Node's caches
        counts = _counts(folder / "ours")
        (folder / "counts.json").write_text(json.dumps(counts), "utf-8")
        for app in (peer_app, flagged_app):
            _cdk(app, folder / "peer", environment)
        total = sum(n for types in counts.values() for n in types.values())
        ours: list[tuple[float, float]] = []
        peer: list[tuple[float, float]] = []
        flagged: list[tuple[float, float]] = []
        for _ in range(ROUNDS):
            ours.append(_cdk(ours_app, folder / "ours", {}))
            flagged.append(_cdk(flagged_app, folder / "peer", environment))
            peer.append(_cdk(peer_app, folder / "peer", environment))
            made = sum(n for types in _counts(folder / "peer").values() for n in types.values())
            if made != total:
                raise RuntimeError(f"the peer made {made} resources, ours {total}: not comparable")
    wall, cpu = (tuple(statistics.median(run[i] for run in runs) for runs in (ours, peer, flagged)) for i in (0, 1))
    write("synth_seconds", unit="s", better="lower", ours=wall[0], peers={"bare L1 resources": wall[1]},
          workload=f"cdk synth, {len(counts)} stacks, {total} resources, median of {ROUNDS}",
          limits={f"<= {LIMIT_S:g} s": wall[0] <= LIMIT_S,
                  f"<= {LIMIT_RATIO:g}x the peer": wall[0] <= LIMIT_RATIO * wall[1]},
          extra={"rounds": {"ours": ours, "peer": peer, "peer with our flags": flagged},
                 "ratio_to_peer_with_our_flags": wall[0] / wall[2],
                 "processor_seconds": {"ours": cpu[0], "bare L1 resources": cpu[1], "ratio": cpu[0] / cpu[1]}})


if __name__ == "__main__":
    main()

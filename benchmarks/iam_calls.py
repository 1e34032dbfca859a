"""iam_calls: of the calls that the demo's scenes make, how many AWS would allow; and what is granted and never used.

    python -m benchmarks.iam_calls [--scenes first_promotion,...]

Every distinct call that the embedded AWS recorded with its role is put to a policy simulator that is not ours,
against the policies of the deployed templates; so is every call that services make by themselves
(tests/support/iam_implied.py). No peer: nobody else's number would mean anything here.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from benchmarks.common import ROOT, write
from contracts.deployments import JP
from demo.run import CLOCK_FACTOR, NEEDED_BY_ALL, chosen_scenes, fetch, play_scene, quiet_environment, stage_for
from demo.world import embedded_aws, synthesise
from local import call_record
from tests.support import iam_check, iam_grants, iam_policies
from tests.support.iam_check import Answer
from tests.support.iam_grants import Grant


def run_scenes(folder: Path, names: tuple[str, ...]) -> tuple[list[Answer], list[Answer], list[Grant], list[str]]:
    """(recorded, implied, granted and never used, scenes that failed)."""
    console = Console()
    material = fetch("snips", console)
    assembly = synthesise(folder / "cdk.out", deployment=JP)
    with embedded_aws(folder, deployment=JP, clock_factor=CLOCK_FACTOR) as world:
        stage = stage_for(world, material, assembly)
        chosen = chosen_scenes(names)
        played = []
        for number, (name, scene) in enumerate(chosen, start=1):
            played.append(play_scene(name, scene, stage, console, f"[{number}/{len(chosen)}]"))
            if not played[-1].passed and name in NEEDED_BY_ALL:
                raise RuntimeError(f"without {name} hardly a call is made, so the share would mean nothing")
        policies = iam_policies.read(stage.target, assembly, account=stage.target.account, region=JP.region)
        record = call_record.read(world.data_dir / call_record.FILE)
    recorded = iam_check.recorded_calls(record, policies)
    others = [*iam_check.implied_calls(policies), *iam_check.assumed(policies)]
    answers = iam_check.simulate([*recorded, *others], policies)
    return (answers[:len(recorded)], answers[len(recorded):], iam_grants.unused(policies, answers),
            [scene.name for scene in played if not scene.passed])


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--scenes", default="", help="names with commas between; all when left out")
    names = tuple(name for name in parser.parse_args(argv).scenes.split(",") if name)
    quiet_environment()
    build = ROOT / "build"
    build.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=build, prefix=".bench-") as scratch:
        recorded, implied, unused, failed = run_scenes(Path(scratch), names)
    share = 100 * sum(answer.allowed for answer in recorded) / len(recorded)
    kept = {grant: iam_grants.reason(grant) for grant in unused}
    write("iam_calls", unit="% allowed", better="higher", ours=share, peers={},
          limits={"100 % of recorded calls": share == 100,
                  "100 % of implied calls": all(answer.allowed for answer in implied),
                  "every unused grant has a reason": all(kept.values()),
                  "every scene played": not failed},
          extra={"recorded": len(recorded), "implied": len(implied),
                 "denied": [f"{a.result}: {a.call}" for a in (*recorded, *implied) if not a.allowed],
                 "granted_never_used": {str(grant): why for grant, why in kept.items()}, "scenes_failed": failed},
          workload="distinct calls of the demo's scenes with their roles, put to @cloud-copilot/iam-simulate")


if __name__ == "__main__":
    main()

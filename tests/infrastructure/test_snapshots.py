from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.infrastructure.conftest import ROOMS, ROOT, Assembly, context
from tests.infrastructure.snapshots import FOLDER, difference, normalise


@pytest.mark.parametrize("room", ROOMS)
@pytest.mark.parametrize("deployment", ["jp", "us", "eu"])
def test_template_is_as_reviewed(
        assembly: Assembly, deployment: str, room: str, request: pytest.FixtureRequest) -> None:
    path, now = FOLDER / f"{deployment}-{room}.json", normalise(assembly.templates[deployment, room])
    if request.config.getoption("--update-snapshots"):
        FOLDER.mkdir(exist_ok=True)
        path.write_text(now, "utf-8")
    changes = difference(path, now)
    assert not changes, "\n".join(["the template changed; review it, then pytest --update-snapshots:", *changes[:80]])


def test_every_snapshot_belongs_to_a_stack() -> None:
    assert {p.stem for p in FOLDER.iterdir()} == {f"{d}-{r}" for d in ("jp", "us", "eu") for r in ROOMS}


def test_a_second_synth_in_another_process_gives_the_same_bytes(assembly: Assembly, tmp_path: Path) -> None:
    environment = {**os.environ, "CDK_OUTDIR": str(tmp_path), "PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo",
                   "CDK_CONTEXT_JSON": json.dumps(context(deployment="jp"))}
    _, *as_cdk_runs_it = json.loads((ROOT / "cdk.json").read_text("utf-8"))["app"].split()
    subprocess.run([sys.executable, *as_cdk_runs_it], cwd=ROOT, env=environment, check=True, capture_output=True)
    for room in ROOMS:
        first = assembly.files["jp", room]
        assert (tmp_path / "assembly-jp" / first.name).read_bytes() == first.read_bytes(), room


def test_no_template_names_an_account_or_holds_a_secret(assembly: Assembly) -> None:
    import re

    for key, path in assembly.files.items():
        text = path.read_text("utf-8")
        assert not re.search(r"\b\d{12}\b", text), f"{key} holds a 12-digit number"
        assert not re.search(r"(?i)(password|secret_?key|akia[0-9a-z]{16})\W{1,3}[\"'][^\"']{6,}", text), key

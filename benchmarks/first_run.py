"""first_run_minutes, first_run_mb: `make demo` on an empty folder until its first scene.

A fresh clone with its own pip, npm and data caches: everything is downloaded and installed again.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from pathlib import Path

from benchmarks.common import ROOT, write


def main() -> None:
    build = ROOT / "build"
    build.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=build, prefix=".first-run-") as scratch:
        clone, caches = Path(scratch) / "clone", Path(scratch) / "caches"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        env = {**os.environ, "PIP_CACHE_DIR": str(caches / "pip"), "XDG_CACHE_HOME": str(caches / "xdg"),
               "MANGAASSIST_CACHE": str(caches / "data")}
        env.pop("VIRTUAL_ENV", None)
        started = time.perf_counter()
        subprocess.run(["make", "--no-print-directory", "demo", "DEMO_ARGS=--prepare-only"], cwd=clone, env=env,
                       check=True)
        minutes = (time.perf_counter() - started) / 60
        megabytes = size_mb(clone) + size_mb(caches / "data")
    workload = "fresh clone, no caches: virtual environment, packages, data, weights, templates; until the first scene"
    write("first_run_minutes", unit="min", better="lower", ours=minutes, peers={}, workload=workload)
    write("first_run_mb", unit="MB", better="lower", ours=megabytes, peers={}, workload=f"{workload}; on disk")


def size_mb(folder: Path) -> float:
    """On disk, links not followed."""
    return sum(p.lstat().st_blocks * 512 for p in folder.rglob("*") if p.is_file() and not p.is_symlink()) / 1e6


if __name__ == "__main__":
    main()

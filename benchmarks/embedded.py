"""embedded_ready_seconds, embedded_memory_mb, embedded_deploy_seconds: what the embedded AWS costs.

The peer of the first two is its own base, ministack without our hooks. Memory is the server process's
resident size after jp was deployed into it (its Lambda workers and jobs are processes of their own).
"""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from benchmarks.common import ROOT, write
from contracts.deployments import JP
from demo.world import synthesise
from local.config import LocalConfig
from local.deploy import deploy
from local.server import RunningServer, start

ROUNDS = 5
DEPLOY_ROUNDS = 3
READY_S, MEMORY_MB, DEPLOY_S = 5.0, 400.0, 15.0
BASE_TIMEOUT_S = 60


def ready(folder: Path) -> tuple[float, RunningServer]:
    started = time.perf_counter()
    server = start(LocalConfig(data_dir=folder, region=JP.region, clock_factor=120))
    return time.perf_counter() - started, server


def base_ready(folder: Path, port: int) -> tuple[float, float]:
    """(seconds until ministack alone answers, its resident MB)."""
    folder.mkdir()
    env = {**os.environ, "GATEWAY_PORT": str(port), "BIND_HOST": "127.0.0.1", "LOG_LEVEL": "ERROR",
           "IOT_MTLS_ENABLED": "0", "SFTP_ENABLED": "0", "S3_DATA_DIR": str(folder), "TMPDIR": str(folder)}
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "ministack"], env=env, cwd=folder, start_new_session=True,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while not answers(f"http://localhost:{port}/_ministack/health"):
            if time.perf_counter() - started > BASE_TIMEOUT_S or process.poll() is not None:
                raise RuntimeError(f"ministack alone did not come up on port {port}")
            time.sleep(0.02)
        return time.perf_counter() - started, resident_mb(process.pid)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def resident_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text("utf-8")
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS:")).split()[1]) / 1024


def main() -> None:
    build = ROOT / "build"
    build.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=build, prefix=".bench-") as scratch:
        folder = Path(scratch)
        assembly = synthesise(folder / "cdk.out", deployment=JP)
        ours, base, deploys, memory, base_memory = [], [], [], [], []
        for round_ in range(ROUNDS):
            seconds, server = ready(folder / f"aws{round_}")
            try:
                ours.append(seconds)
                if round_ < DEPLOY_ROUNDS:
                    began = time.perf_counter()
                    deploy(assembly, endpoint_url=server.endpoint_url)
                    deploys.append(time.perf_counter() - began)
                    memory.append(server.resident_mb())
                port = server.config.port
            finally:
                server.stop()
            seconds, used = base_ready(folder / f"base{round_}", port)
            base.append(seconds)
            base_memory.append(used)
    write("embedded_ready_seconds", unit="s", better="lower", ours=statistics.median(ours),
          peers={"ministack alone": statistics.median(base)},
          limits={f"<= {READY_S:g} s": statistics.median(ours) <= READY_S}, extra={"rounds": ours},
          workload=f"start of the process until it answers, median of {ROUNDS}")
    write("embedded_memory_mb", unit="MB", better="lower", ours=max(memory),
          peers={"ministack alone, empty": max(base_memory)}, limits={f"<= {MEMORY_MB:g} MB": max(memory) <= MEMORY_MB},
          workload="resident size of the server process after jp was deployed, largest of the rounds")
    write("embedded_deploy_seconds", unit="s", better="lower", ours=statistics.median(deploys), peers={},
          limits={f"<= {DEPLOY_S:g} s": statistics.median(deploys) <= DEPLOY_S}, extra={"rounds": deploys},
          workload=f"four stacks of jp with assets and image builds, median of {DEPLOY_ROUNDS}")


if __name__ == "__main__":
    main()

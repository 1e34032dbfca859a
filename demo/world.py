"""The world a demo runs in: synthesised templates and an embedded AWS, both in a folder that is thrown away.

`local` is a product of its own, so it is driven by its command line and its endpoint only.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contracts.deployments import Deployment

ROOT = Path(__file__).resolve().parent.parent
START_TIMEOUT_S = 60
SHOWN_LINES = 25
OWNER = "owner.pid"


class WorldError(RuntimeError):
    """Something around the scenes broke: synthesis, the embedded AWS, a deploy."""


@dataclass(frozen=True, kw_only=True)
class World:
    folder: Path
    deployment: Deployment
    endpoint_url: str
    clock_factor: float

    @property
    def data_dir(self) -> Path:
        return self.folder / "aws"

    def deploy(self, assembly: Path) -> str:
        """Deploy a synthesised assembly; returns what the deployer printed."""
        return _local(["deploy", "--cdk-out", str(assembly), "--endpoint-url", self.endpoint_url], "deploy")

    @contextmanager
    def fault(self, **fault: Any) -> Iterator[None]:
        """Inject a fault into AWS calls while the block runs (service, operation, kind, times, role)."""
        _control(self.endpoint_url, "POST", "/_local/faults", fault)
        try:
            yield
        finally:
            _control(self.endpoint_url, "DELETE", "/_local/faults")

    def calls(self) -> list[dict[str, Any]]:
        """Every AWS call so far: service, operation, resource, role, status."""
        lines = _control(self.endpoint_url, "GET", "/_local/calls").splitlines()
        return [json.loads(line) for line in lines if line.strip()]

    def stop(self) -> None:
        _local(["down", "--data-dir", str(self.data_dir)], "stop of the embedded AWS")


@contextmanager
def embedded_aws(
    folder: Path, *, deployment: Deployment, clock_factor: float, peers: Mapping[str, str] | None = None
) -> Iterator[World]:
    """A running, empty embedded AWS; stopped on the way out, also after Ctrl-C.

    `peers`: region -> endpoint URL of another one, which is that region to it.
    """
    port = free_port()
    world = World(
        folder=folder, deployment=deployment, endpoint_url=f"http://localhost:{port}", clock_factor=clock_factor
    )
    try:
        _local(
            [
                "up",
                "--detach",
                "--port",
                str(port),
                "--data-dir",
                str(world.data_dir),
                "--region",
                deployment.region,
                "--clock-factor",
                f"{clock_factor:g}",
                *(part for region, url in (peers or {}).items() for part in ("--peer", f"{region}={url}")),
            ],
            "start of the embedded AWS",
        )
        yield world
    finally:
        world.stop()


def synthesise(out: Path, *, deployment: Deployment, context: Mapping[str, Any] | None = None) -> Path:
    """Synthesise one deployment as `cdk synth` would; returns the assembly's folder."""
    env = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",  # the pinned Node comes first
        "CDK_OUTDIR": str(out),
        "CDK_CONTEXT_JSON": json.dumps({"deployment": deployment.name, **(context or {})}),
    }
    _run([sys.executable, "app.py"], "synthesis", env)
    return out / f"assembly-{deployment.name}"


def claim(folder: Path) -> None:
    """Say whose folder this is, so that another demo leaves it alone."""
    (folder / OWNER).write_text(str(os.getpid()), "utf-8")


def sweep(parent: Path, prefix: str) -> None:
    """Stop and remove what a killed demo left: a killed process can't clean up after itself."""
    for folder in parent.glob(f"{prefix}*"):
        owner = folder / OWNER
        if owner.exists() and _runs(int(owner.read_text("utf-8") or 0)):
            continue
        for data_dir in (*folder.glob("aws"), *folder.glob("*/aws")):  # a second region's lies one deeper
            _local(["down", "--data-dir", str(data_dir)], "stop of a stale embedded AWS")
        shutil.rmtree(folder, ignore_errors=True)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's process
        return True
    return pid > 0


def _local(arguments: list[str], what: str) -> str:
    return _run([sys.executable, "-m", "local", *arguments], what, dict(os.environ))


def _run(command: list[str], what: str, env: Mapping[str, str]) -> str:
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        tail = "\n".join((done.stdout + done.stderr).strip().splitlines()[-SHOWN_LINES:])
        raise WorldError(f"{what} ended with exit code {done.returncode}:\n{tail}")
    return done.stdout


def _control(endpoint_url: str, method: str, path: str, body: dict[str, Any] | None = None) -> str:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(
        endpoint_url + path, data=data, method=method, headers={"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return bytes(answer.read()).decode()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

"""A model behind HTTP: one container process with its health check, restarts and connections.

Used by endpoints and by transform jobs.
"""

from __future__ import annotations

import http.client
import queue
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from local.faults import CONTAINER, FAULTS, Call
from local.sagemaker import roles, s3_channels, state
from local.sagemaker.aws_http import Client, split_s3_uri
from local.sagemaker.errors import JobFailure
from local.sagemaker.image_pull import find_image
from local.sagemaker.sandbox import ContainerProcess, Sandbox
from local.sagemaker.starving import Starving

HEALTH_TIMEOUT_S = 240.0  # AWS's default; ContainerStartupHealthCheckTimeoutInSeconds overrides it
MIN_HEALTH_TIMEOUT_S = 60.0  # the clock factor does not make a model load faster
_INVOKE_TIMEOUT_S = 60.0
_STARTS_BEFORE_HEALTHY = 2
_RESTART_PAUSE_S = 0.3


class ContainerDown(Exception):
    """No process to talk to: it crashed and is being restarted."""


class ServingContainer:
    """One model in one container. `start` blocks until /ping answers 200."""

    def __init__(
        self, *, model: dict[str, Any], folder: Path, what: str, client: Client,
        on_lines: Callable[[list[str]], None], health_timeout_s: float = 0,
    ) -> None:
        self.model, self.folder, self.what, self.client = model, folder, what, client
        self.on_lines = on_lines
        wanted = health_timeout_s or HEALTH_TIMEOUT_S
        self.health_timeout_s = max(state.config().scaled(wanted), min(wanted, MIN_HEALTH_TIMEOUT_S))
        self.port = _free_port()
        self.healthy = False
        self.closing = threading.Event()
        self.image_digest = ""
        self._process: ContainerProcess | None = None
        self._starving: Starving | None = None
        self._idle: queue.LifoQueue[http.client.HTTPConnection] = queue.LifoQueue()
        self._in_flight = 0
        self._quiet = threading.Condition()

    # -- life -------------------------------------------------------------------------------------------

    def start(self) -> None:
        container = self.model["PrimaryContainer"]
        image = find_image(_image_uri(container), self.client)
        self.image_digest = image.digest
        self.sandbox = Sandbox(self.folder, image)
        self._fetch_model(container)
        isolated = self.model.get("EnableNetworkIsolation", False)
        self.environment = self.sandbox.environment(
            container.get("Environment", {}), roles.environment(self.client, isolated=isolated),
            {"SAGEMAKER_BIND_TO_PORT": str(self.port), "SAGEMAKER_SAFE_PORT_RANGE": f"{self.port}-{self.port}"},
        )
        entrypoint = image.config.entrypoint
        self.command = self.sandbox.command([*entrypoint, "serve"] if entrypoint else ["serve"])
        self._launch()
        self._wait_healthy()
        fault = FAULTS.take(Call(service=CONTAINER, operation="Serve", resource=self.model["ModelName"], role=""))
        if fault is not None and self._process is not None:
            self._starving = Starving(self._process.group, stands_s=fault.seconds)
        state.background(self._watch, name=f"watch-{self.what}")

    def _fetch_model(self, container: dict[str, Any]) -> None:
        place = self.sandbox.path("/opt/ml/model")
        place.mkdir(parents=True, exist_ok=True)
        source = container.get("ModelDataSource", {}).get("S3DataSource", {})
        uri = container.get("ModelDataUrl") or source.get("S3Uri")
        if not uri:
            return
        if source.get("S3DataType") == "S3Prefix":
            role = self.model["ExecutionRoleArn"]
            s3_channels.download_prefix(self.client, uri, place, role=role, what="model data source")
            return
        archive = self.folder / split_s3_uri(uri)[1].rsplit("/", 1)[-1]
        s3_channels.download_file(self.client, uri, archive, what="model data")
        if source.get("CompressionType") == "None":
            archive.rename(place / archive.name)
        else:
            s3_channels.unpack(archive, place)

    def _launch(self) -> None:
        self._process = ContainerProcess(
            self.command, environment=self.environment, workdir=self.sandbox.workdir(), on_lines=self.on_lines
        )

    def _wait_healthy(self) -> None:
        deadline, starts = time.monotonic() + self.health_timeout_s, 1
        assert self._process is not None
        while time.monotonic() < deadline and not self.closing.is_set():
            if self._process.poll() is not None:
                self._process.finish()
                if starts == _STARTS_BEFORE_HEALTHY:
                    break
                starts += 1
                self._launch()
            if self._ping():
                self.healthy = True
                return
            time.sleep(0.05)
        raise JobFailure(
            f"The primary container for {self.what} did not pass the ping health check. Please check CloudWatch "
            "logs for this endpoint."
        )

    def _ping(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=2)
        try:
            connection.request("GET", "/ping")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _watch(self) -> None:
        """Start a crashed container again for as long as it is wanted."""
        while not self.closing.wait(0.2):
            assert self._process is not None
            if self._process.poll() is None:
                continue
            self.healthy = False
            self._process.finish()
            self.on_lines([f"{self.what}: the container ended unexpectedly and is started again"])
            time.sleep(_RESTART_PAUSE_S)
            try:
                if not self.closing.is_set():
                    self._launch()
                    self._wait_healthy()
            except JobFailure as failure:
                self.on_lines([failure.reason])

    def close(self) -> None:
        """Let requests in flight finish, then end the process and remove its files."""
        with self._quiet:
            self._quiet.wait_for(lambda: self._in_flight == 0, timeout=_INVOKE_TIMEOUT_S)
        self.closing.set()
        self.healthy = False
        if self._starving is not None:
            self._starving.end()
        if self._process is not None:
            self._process.stop(grace_s=5)
        while not self._idle.empty():
            self._idle.get().close()
        if hasattr(self, "sandbox"):
            self.sandbox.remove()

    # -- requests ---------------------------------------------------------------------------------------

    def __enter__(self) -> ServingContainer:
        with self._quiet:
            self._in_flight += 1
        return self

    def __exit__(self, *exc: object) -> None:
        with self._quiet:
            self._in_flight -= 1
            self._quiet.notify_all()

    def invoke(
        self, body: bytes, headers: dict[str, str], timeout_s: float = _INVOKE_TIMEOUT_S
    ) -> tuple[int, dict[str, str], bytes]:
        """POST /invocations. A kept connection that the container closed meanwhile is replaced once."""
        for attempt in ("kept", "fresh"):
            connection = self._connection(fresh=attempt == "fresh")
            kept = connection.sock is not None
            if connection.sock is not None:
                connection.sock.settimeout(timeout_s)
            else:
                connection.timeout = timeout_s
            try:
                connection.request("POST", "/invocations", body=body, headers=headers)
                response = connection.getresponse()
                answer = response.status, {k.lower(): v for k, v in response.getheaders()}, response.read()
            except TimeoutError as error:
                connection.close()
                raise ContainerDown(f"{self.what}: no answer within {timeout_s:.0f} s") from error
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                if kept and attempt == "kept":
                    continue
                raise ContainerDown(f"{self.what}: {error}") from error
            if response.will_close:
                connection.close()
            else:
                self._idle.put(connection)
            return answer
        raise ContainerDown(self.what)

    def _connection(self, *, fresh: bool) -> http.client.HTTPConnection:
        if not fresh:
            try:
                return self._idle.get_nowait()
            except queue.Empty:
                pass
        return http.client.HTTPConnection("127.0.0.1", self.port)


def _image_uri(container: dict[str, Any]) -> str:
    return container["Image"]


def resolve_package(model: dict[str, Any]) -> dict[str, Any]:
    """A model that names a model package takes image and data from it."""
    container = model["PrimaryContainer"]
    if "ModelPackageName" not in container:
        return model
    from local.sagemaker.registry import find_package

    package = find_package(container["ModelPackageName"])
    inner = package["InferenceSpecification"]["Containers"][0]
    keys = ("Image", "ModelDataUrl", "ModelDataSource", "Environment")
    merged = {k: inner[k] for k in keys if k in inner}
    merged["Environment"] = {**merged.get("Environment", {}), **container.get("Environment", {})}
    return {**model, "PrimaryContainer": {**container, **merged}}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

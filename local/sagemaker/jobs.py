"""What training, processing and transform jobs share: a thread, a sandbox, a limit, a stop and an end."""

from __future__ import annotations

import shutil
import signal
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from local.sagemaker import reaper, roles, state, telemetry
from local.sagemaker.aws_http import AwsError, Client
from local.sagemaker.errors import ApiError, JobFailure, invalid
from local.sagemaker.image_pull import find_image
from local.sagemaker.sandbox import ContainerProcess, Sandbox

STOP_GRACE_S = 120.0  # what SageMaker gives a container between SIGTERM and SIGKILL
_running: dict[str, Job] = {}  # by ARN


class Job:
    """One job in its thread. Subclasses say what happens between the image and the end."""

    kind: str
    prefix: str  # of the record's keys: Training, Processing, Transform
    detail_type: str
    log_group: str

    def __init__(self, record: dict[str, Any]) -> None:
        self.record = record
        self.arn: str = record[f"{self.prefix}JobArn"]
        self.name: str = record[f"{self.prefix}JobName"]
        self.stopping, self.killed = threading.Event(), threading.Event()
        self.work = state.config().data_dir / "jobs" / f"{self.kind}-{self.name}-{state.new_id(6)}"
        self.client: Client
        self._log: telemetry.LogStream | None = None

    # -- life -------------------------------------------------------------------------------------------

    def start(self) -> None:
        _running[self.arn] = self
        self.announce()
        state.background(self._run, name=f"{self.kind}-{self.name}")

    def _run(self) -> None:
        try:
            self.work.mkdir(parents=True, exist_ok=True)
            self.run()
        except JobFailure as failure:
            self.end("Failed", FailureReason=failure.reason)
        except ApiError as refusal:  # for example a role that went away
            self.end("Failed", FailureReason=f"ClientError: {refusal.message}"[:1024])
        except AwsError as error:
            self.end("Failed", FailureReason=f"ClientError: {error}"[:1024])
        except OSError as error:
            self.end("Failed", FailureReason=f"InternalServerError: {error}"[:1024])
        finally:
            _running.pop(self.arn, None)
            shutil.rmtree(self.work, ignore_errors=True)

    def run(self) -> None:
        raise NotImplementedError

    def update(self, **fields: Any) -> None:
        with state.LOCK:
            self.record.update(fields, LastModifiedTime=state.now())

    def end(self, status: str, **fields: Any) -> None:
        """The last state: after it the record does not change."""
        self.update(**{f"{self.prefix}JobStatus": status, f"{self.prefix}EndTime": state.now()}, **fields)
        self.announce()

    def announce(self) -> None:
        telemetry.event(self.detail_type, state.public(self.record), self.arn)

    # -- parts ------------------------------------------------------------------------------------------

    def assume(self, role_arn: str) -> Client:
        self.client = roles.assume(role_arn, f"SageMaker-{self.name}")
        return self.client

    def sandbox(self, image_uri: str) -> Sandbox:
        return Sandbox(self.work / "container", find_image(image_uri, self.client))

    def log(self, lines: list[str]) -> None:
        if self._log is None:
            self._log = telemetry.LogStream(self.log_group, f"{self.name}/algo-1-{int(time.time())}")
        self._log.write(lines)

    def run_process(
        self, command: list[str], environment: Mapping[str, str], workdir: Path, limit_s: float,
    ) -> tuple[str, int]:
        """Run to the end, the limit or a stop; says which of `exited`, `timeout`, `stopped` it was."""
        process = ContainerProcess(
            command, environment=dict(environment), workdir=workdir, on_lines=self.on_lines
        )
        deadline = time.monotonic() + limit_s
        while (code := process.wait(0.05)) is None:
            self.while_running()
            if self.killed.is_set():
                reaper.signal_group(process.group, signal.SIGKILL)
            if self.stopping.is_set() or time.monotonic() > deadline:
                process.stop(STOP_GRACE_S)
                return ("stopped" if self.stopping.is_set() else "timeout"), -1
        process.finish()
        return "exited", code

    def on_lines(self, lines: list[str]) -> None:
        self.log(lines)

    def while_running(self) -> None:
        """Called some times a second while the container runs."""


def stop_job(kind: str, prefix: str, request: dict[str, Any]) -> dict[str, Any]:
    record = find_job(kind, request[f"{prefix}JobName"])
    with state.LOCK:
        if record[f"{prefix}JobStatus"] not in ("InProgress", "Stopping"):
            raise invalid(
                f"The request was rejected because the {prefix.lower()} job is in status "
                f"{record[f'{prefix}JobStatus']}."
            )
        record[f"{prefix}JobStatus"] = "Stopping"
        job = _running.get(record[f"{prefix}JobArn"])
    if job:
        job.stopping.set()
        job.announce()
    return {}


def kill_running() -> None:
    """A fault on purpose: the container of every job that runs is killed, and the job fails as it would on AWS."""
    for job in list(_running.values()):
        job.killed.set()


def find_job(kind: str, name: str) -> dict[str, Any]:
    record = state.store(kind).get(name)
    if record is None:
        raise invalid(f"Requested resource not found. ({state.arn(kind, name)})")
    return record


def new_job(kind: str, prefix: str, request: dict[str, Any], record: dict[str, Any]) -> dict[str, Any]:
    """Store a job record; names are unique for ever within account and region."""
    name = request[f"{prefix}JobName"]
    arn = state.arn(kind, name)
    with state.LOCK:
        if name in state.store(kind):
            raise ApiError(
                "ResourceInUse",
                f"{prefix} job names must be unique within an AWS account and region, and a {prefix.lower()} "
                f"job with this name already exists ({arn})",
            )
        stamp = state.now()
        record = {
            f"{prefix}JobArn": arn, f"{prefix}JobStatus": "InProgress", "CreationTime": stamp,
            "LastModifiedTime": stamp, **{k: v for k, v in request.items() if k != "Tags"}, **record,
        }
        state.store(kind)[name] = record
    if request.get("Tags"):
        state.store("tags")[arn] = {t["Key"]: t["Value"] for t in request["Tags"]}
    return record


def one_instance(resource: dict[str, Any]) -> None:
    if resource.get("InstanceCount", 1) != 1 or resource.get("InstanceGroups"):
        raise invalid(
            f"InstanceCount {resource.get('InstanceCount')} is not supported by the embedded SageMaker: "
            "one machine runs one instance; use 1"
        )

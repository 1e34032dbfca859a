"""One Spark job run: a thread, a folder, a process, a log and an end."""

from __future__ import annotations

import gzip
import shutil
import threading
import time
from collections import deque
from typing import Any

from local.emr_serverless import SERVICE, records, spark_submit
from local.emr_serverless.staged_objects import StagedObjects
from local.sagemaker import roles, state, telemetry
from local.sagemaker.aws_http import AwsError, Client, split_s3_uri
from local.sagemaker.errors import ApiError, JobFailure
from local.sagemaker.sandbox import ContainerProcess

PRINCIPAL = f"{SERVICE}.amazonaws.com"
_DEFAULT_GROUP = "/aws/emr-serverless"
_DETAILS = 256  # characters that AWS keeps of a state's details
_STOP_GRACE_S = 5.0
_KEPT_LINES = 20_000
_DRIVER_LOG = "SPARK_DRIVER/stdout"
_LOG_HINT = "please check complete logs in the configured logging destination"
_running: dict[str, JobRun] = {}  # by ARN


class JobRun:
    def __init__(self, record: dict[str, Any]) -> None:
        self.record = record
        self.cancelling = threading.Event()
        self.work = state.config().data_dir / "jobs" / f"spark-{record['jobRunId']}"
        self._lines: deque[str] = deque(maxlen=_KEPT_LINES)
        self._log = self._log_stream()

    def start(self) -> None:
        _running[self.record["arn"]] = self
        state.background(self._run, name=f"spark-{self.record['jobRunId']}")

    def _run(self) -> None:
        try:
            self.work.mkdir(parents=True)
            (self.work / "tmp").mkdir()
            self._submit()
        except JobFailure as failure:
            self._end("FAILED", failure.reason)
        except (ApiError, AwsError, OSError) as error:  # a role that went away, a disk that is full
            self._end("FAILED", f"Job failed: {error}")
        finally:
            _running.pop(self.record["arn"], None)
            shutil.rmtree(self.work, ignore_errors=True)

    def _submit(self) -> None:
        run = self.record
        client = roles.assume(run["executionRole"], f"emr-{run['jobRunId']}", service=PRINCIPAL)
        spark_home = spark_submit.require_spark()
        objects = StagedObjects(client, self.work / "s3")
        command = spark_submit.command(spark_home, run.get("name", run["jobRunId"]), run["jobDriver"]["sparkSubmit"],
                                       objects, self.work / "code")
        environment = {**roles.environment(client, isolated=False),
                       **spark_submit.environment(spark_home, self.work)}
        self._update(state="RUNNING", stateDetails="", startedAt=state.now())
        process = ContainerProcess(command, environment=environment, workdir=self.work, on_lines=self._write)
        code = self._wait(process)
        self._copy_log(client)
        if code is None:
            late = "" if self.cancelling.is_set() else f" after its limit of {run['executionTimeoutMinutes']} minutes"
            self._end("CANCELLED", f"Job run was cancelled{late}.")
        elif code:
            raise JobFailure(f"Job failed, {_LOG_HINT}. ExitCode: {code}. {self._last_error()}")
        else:
            objects.put_back()
            self._end("SUCCESS", "Job completed successfully.")

    def _wait(self, process: ContainerProcess) -> int | None:
        """Exit code; None when it was cancelled or took too long."""
        limit_s = 60.0 * self.record["executionTimeoutMinutes"] or float("inf")
        deadline = time.monotonic() + limit_s
        while (code := process.wait(0.05)) is None:
            if self.cancelling.is_set() or time.monotonic() > deadline:
                process.stop(_STOP_GRACE_S)
                return None
        process.finish()
        return code

    def _update(self, **fields: Any) -> None:
        with state.LOCK:
            self.record.update(fields, updatedAt=state.now())

    def _end(self, ended: str, details: str) -> None:
        stamp = state.now()
        seconds = int(stamp - self.record.get("startedAt", stamp))
        self._write([f"{ended}: {details}"] if ended == "FAILED" else [])
        self._update(state=ended, stateDetails=details[:_DETAILS].strip(), endedAt=stamp,
                     totalExecutionDurationSeconds=seconds)
        telemetry.event("EMR Serverless Job Run State Change", {
            "jobRunId": self.record["jobRunId"], "applicationId": self.record["applicationId"], "state": ended,
            "arn": self.record["arn"]}, self.record["arn"], source=f"aws.{SERVICE}")

    def _copy_log(self, client: Client) -> None:
        """To the S3 place that the application or the run names, with the role's grants."""
        run, wanted = self.record, self.record["_monitoring"].get("s3MonitoringConfiguration", {})
        if not wanted.get("logUri"):
            return
        path = self.work / "stdout.gz"
        path.write_bytes(gzip.compress("\n".join(self._lines).encode()))
        bucket, prefix = split_s3_uri(wanted["logUri"])
        place = f"applications/{run['applicationId']}/jobs/{run['jobRunId']}/{_DRIVER_LOG}.gz"
        try:
            client.upload(bucket, f"{prefix.rstrip('/')}/{place}".lstrip("/"), path,
                          kms_key=wanted.get("encryptionKeyArn", ""))
        except AwsError as error:
            raise JobFailure(f"{error} while writing the log to {wanted['logUri']}") from error

    def _log_stream(self) -> telemetry.LogStream | None:
        run = self.record
        wanted = run["_monitoring"].get("cloudWatchLoggingConfiguration", {})
        if not wanted.get("enabled"):
            return None
        path = f"applications/{run['applicationId']}/jobs/{run['jobRunId']}/{_DRIVER_LOG}"
        prefix = wanted.get("logStreamNamePrefix")
        return telemetry.LogStream(wanted.get("logGroupName") or _DEFAULT_GROUP, f"{prefix}/{path}" if prefix else path)

    def _write(self, lines: list[str]) -> None:
        """Both outputs of the driver, as they come."""
        self._lines.extend(lines)
        if self._log is not None and lines:
            self._log.write(lines)

    def _last_error(self) -> str:
        """The newest line that names an error, for people read that first."""
        named = [line.strip() for line in self._lines if "Error: " in line or "Exception: " in line]
        return named[-1] if named else "The log names no exception."


def cancel(record: dict[str, Any]) -> None:
    with state.LOCK:
        if record["state"] in records.ENDED:
            raise ApiError("ValidationException",
                           f"Job run {record['jobRunId']} is {record['state']}: only one that has not ended can be "
                           "cancelled")
        record.update(state="CANCELLING", updatedAt=state.now())
        run = _running.get(record["arn"])
    if run is not None:
        run.cancelling.set()


def end_lost_runs() -> None:
    """After a restart of the server: no process survives it."""
    for record in records.job_runs._data.values():
        if record["state"] not in records.ENDED:
            record.update(state="FAILED", stateDetails="The server was restarted.", updatedAt=state.now())

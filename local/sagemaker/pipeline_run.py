"""One execution: steps start when what they wait for is done, side by side where they are free.

A failed step lets running steps finish and starts no new one. Steps of the branch that a condition did not take,
and what waits for them, never start and are not listed, as on AWS.
"""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from typing import Any

from local.sagemaker import pipeline_steps, roles, state, telemetry
from local.sagemaker.aws_http import AwsError, Client, split_s3_uri
from local.sagemaker.errors import ApiError, JobFailure
from local.sagemaker.pipeline_definition import Definition, Step
from local.sagemaker.pipeline_steps import StepContext, StepStopped
from local.sagemaker.pipeline_values import Values

_live: dict[str, Execution] = {}  # by execution ARN
FAILED = "Step failure: One or multiple steps failed."


class Execution:
    def __init__(self, record: dict[str, Any], definition: Definition) -> None:
        self.record, self.definition = record, definition
        self.arn: str = record["PipelineExecutionArn"]
        self.stopping = threading.Event()
        self.changed = threading.Condition()
        self.steps: dict[str, dict[str, Any]] = record["_steps"]
        self.skipped: set[str] = set()
        self.failed = False

    def start(self) -> None:
        _live[self.arn] = self
        self._announce("")
        state.background(self._run, name=f"pipeline-{self.record['_id']}")

    def stop(self) -> None:
        self.set_status("Stopping")
        self.stopping.set()
        with self.changed:
            self.changed.notify_all()

    # -- the schedule -----------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            client = roles.assume(self.record["_role"], f"SageMaker-{self.record['_id']}")
        except ApiError as refused:
            self._end("Failed", refused.message)
            return
        self.values = Values(
            parameters=self.record["_values"], execution=self._facts, read_file=lambda uri: _read(client, uri)
        )
        self._restore()
        with self.changed:
            while True:
                self._skip()
                if not self.failed and not self.stopping.is_set():
                    for step in self._ready():
                        self._launch(step, client)
                if not self._running() and (self.failed or self.stopping.is_set() or not self._ready()):
                    break
                self.changed.wait()
        if self.stopping.is_set():
            self._end("Stopped")
        else:
            self._end("Failed" if self.failed else "Succeeded", FAILED if self.failed else None)

    def _restore(self) -> None:
        """A retried execution goes on with what its earlier attempt finished."""
        self.values.outputs.update(self.record["_outputs"])
        self.values.files.update(self.record["_files"])
        for name in [n for n, s in self.steps.items() if s["StepStatus"] != "Succeeded"]:
            del self.steps[name]

    def _skip(self) -> None:
        """Branches not taken, and all that waits for them."""
        found = True
        while found:
            found = False
            for name, step in self.definition.steps.items():
                if name in self.skipped or name in self.steps:
                    continue
                taken = self.values.outputs.get(step.branch[0]) if step.branch else None
                not_taken = taken is not None and step.branch is not None and taken["Outcome"] != step.branch[1]
                if not_taken or step.waits_for & self.skipped:
                    self.skipped.add(name)
                    found = True

    def _running(self) -> int:
        return sum(s["StepStatus"] in ("Starting", "Executing", "Stopping") for s in self.steps.values())

    def _ready(self) -> list[Step]:
        done = {n for n, s in self.steps.items() if s["StepStatus"] == "Succeeded"}
        new = [s for n, s in self.definition.steps.items() if n not in self.steps and n not in self.skipped]
        free = self.record["_parallel"] - self._running()
        return [s for s in new if s.waits_for <= done][: max(0, free)]

    def _launch(self, step: Step, client: Client) -> None:
        shown: dict[str, Any] = {
            "StepName": step.name, "StepStatus": "Executing", "StartTime": state.now(), "AttemptCount": 1
        }
        for source, target in (("DisplayName", "StepDisplayName"), ("Description", "StepDescription")):
            if source in step.raw:
                shown[target] = step.raw[source]
        self.steps[step.name] = shown
        context = StepContext(
            client=client, values=self.values, execution_id=self.record["_id"], stopping=self.stopping, record=shown
        )
        state.background(lambda: self._work(step, context), name=f"step-{step.name}")

    def _work(self, step: Step, context: StepContext) -> None:
        status, reason = "Succeeded", None
        try:
            pipeline_steps.run(step, context)
        except StepStopped:
            status = "Stopped"
        except (JobFailure, AwsError, ApiError) as failure:
            status, reason = "Failed", str(failure)[:1024]
        except (KeyError, TypeError, OSError, ValueError) as failure:  # a definition that does not fit
            status, reason = "Failed", f"ClientError: {type(failure).__name__}: {failure}"[:1024]
        self._step_event(step, context.record, status)
        with self.changed:
            context.record.update(StepStatus=status, EndTime=state.now())
            if reason is not None:
                context.record["FailureReason"] = reason
            if status == "Failed":
                self.failed = True
            self.record["_outputs"], self.record["_files"] = self.values.outputs, self.values.files
            self.changed.notify_all()

    # -- facts and events -------------------------------------------------------------------------------

    def _facts(self) -> dict[str, Any]:
        started = datetime.fromtimestamp(self.record["CreationTime"], UTC).isoformat()
        return {
            "PipelineExecutionId": self.record["_id"], "PipelineExecutionArn": self.arn, "StartDateTime": started,
            "PipelineName": self.record["_pipeline"], "PipelineArn": self.record["PipelineArn"],
            "CurrentDateTime": datetime.now(UTC).isoformat(),
        }

    def set_status(self, status: str, reason: str | None = None) -> None:
        with state.LOCK:
            before = self.record["PipelineExecutionStatus"]
            self.record.update(PipelineExecutionStatus=status, LastModifiedTime=state.now(), FailureReason=reason)
        self._announce(before)

    def _end(self, status: str, reason: str | None = None) -> None:
        self.record["_end"] = state.now()
        _live.pop(self.arn, None)
        self.set_status(status, reason)

    def _announce(self, before: str) -> None:
        detail = {
            "pipelineArn": self.record["PipelineArn"], "pipelineExecutionArn": self.arn,
            "pipelineExecutionDisplayName": self.record.get("PipelineExecutionDisplayName"),
            "currentPipelineExecutionStatus": self.record["PipelineExecutionStatus"],
            "executionStartTime": _time(self.record["CreationTime"]),
            **({"previousPipelineExecutionStatus": before} if before else {}),
            **({"executionEndTime": _time(self.record["_end"])} if "_end" in self.record else {}),
        }
        telemetry.event("SageMaker Model Building Pipeline Execution Status Change", detail, self.arn)

    def _step_event(self, step: Step, shown: dict[str, Any], status: str) -> None:
        detail = {
            "pipelineArn": self.record["PipelineArn"], "pipelineExecutionArn": self.arn, "stepName": step.name,
            "stepType": step.type, "metadata": shown.get("Metadata", {}), "currentStepStatus": status,
            "previousStepStatus": "Executing", "stepStartTime": _time(shown["StartTime"]),
        }
        telemetry.event("SageMaker Model Building Pipeline Execution Step Status Change", detail, self.arn)


def _time(stamp: float) -> str:
    return datetime.fromtimestamp(stamp, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _read(client: Client, uri: str) -> bytes:
    try:
        return client.get_bytes(*split_s3_uri(uri))
    except AwsError as error:
        raise JobFailure(f"ClientError: cannot read {uri}: {error}") from error


def live(arn: str) -> Execution | None:
    return _live.get(arn)

"""What each type of step does. Jobs are created over HTTP with the pipeline's role, so its grants decide."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass
from typing import Any

from local.sagemaker import state
from local.sagemaker.aws_http import AwsError, Client
from local.sagemaker.errors import JobFailure
from local.sagemaker.pipeline_definition import Step
from local.sagemaker.pipeline_values import Values, coerce, holds
from local.sagemaker.validation import service_model

_POLL_S = 0.05
_JOBS = {"Training": "training-job", "Processing": "processing-job", "Transform": "transform-job"}
_RETRIED = {"ThrottlingException": "Step.THROTTLING", "Throttling": "Step.THROTTLING"}


class StepStopped(Exception):
    """The execution is being stopped, and so is this step."""


@dataclass(kw_only=True)
class StepContext:
    client: Client
    values: Values
    execution_id: str
    stopping: threading.Event
    record: dict[str, Any]  # what ListPipelineExecutionSteps shows of the step

    def show(self, **metadata: Any) -> None:
        with state.LOCK:
            self.record["Metadata"] = metadata


def run(step: Step, context: StepContext) -> None:
    """Run to the end; the outcome is in the context's values. Raises JobFailure or StepStopped."""
    if step.type in _JOBS:
        _job(step, context)
        return
    {"Condition": _condition, "Fail": _fail, "Model": _model, "RegisterModel": _register, "Lambda": _lambda}[
        step.type
    ](step, context)


def _arguments(step: Step, context: StepContext, operation: str) -> dict[str, Any]:
    resolved = context.values.resolve(step.arguments)
    shape = service_model("sagemaker").operation_model(operation).input_shape
    return dict(coerce(resolved, shape))


def _name(step: Step, context: StepContext, given: str) -> str:
    """Jobs of a pipeline get names of their own each time; a given name is its beginning."""
    base = given or f"pipelines-{context.execution_id}-{step.name}"
    return f"{base[:50].strip('-')}-{state.new_id(10)}"


def _create(operation: str, request: dict[str, Any], step: Step, context: StepContext) -> dict[str, Any]:
    policies = [p for p in step.raw.get("RetryPolicies", []) if "Step.THROTTLING" in p["ExceptionType"]]
    attempts = policies[0].get("MaxAttempts", 1) if policies else 0
    wait = float(policies[0].get("IntervalSeconds", 1)) if policies else 0.0
    while True:
        try:
            return context.client.call("sagemaker", operation, request)
        except AwsError as error:
            retried = attempts and (error.code in _RETRIED or error.status >= 500)
            if not retried:
                raise JobFailure(f"ClientError: {error}") from error
            attempts -= 1
            time.sleep(state.config().scaled(wait))
            wait *= policies[0].get("BackoffRate", 2.0)


def _job(step: Step, context: StepContext) -> None:
    kind, prefix = _JOBS[step.type], step.type
    request = _arguments(step, context, f"Create{prefix}Job")
    name = _name(step, context, request.get(f"{prefix}JobName", ""))
    answer = _create(f"Create{prefix}Job", {**request, f"{prefix}JobName": name}, step, context)
    context.show(**{f"{prefix}Job": {"Arn": answer[f"{prefix}JobArn"]}})
    stopped = False
    while (record := state.store(kind)[name])[f"{prefix}JobStatus"] in ("InProgress", "Stopping"):
        if context.stopping.is_set() and not stopped:
            _stop(prefix, name, context)
            stopped = True
        time.sleep(_POLL_S)
    status = record[f"{prefix}JobStatus"]
    if context.stopping.is_set():
        raise StepStopped
    if status != "Completed":
        reason = record.get("FailureReason", f"{prefix} job ended in status {status}")
        raise JobFailure(f"ClientError: {reason}" if status == "Stopped" else reason)
    context.values.outputs[step.name] = state.public(record)
    context.values.files[step.name] = {f["PropertyFileName"]: f for f in step.raw.get("PropertyFiles", [])}


def _stop(prefix: str, name: str, context: StepContext) -> None:
    try:
        context.client.call("sagemaker", f"Stop{prefix}Job", {f"{prefix}JobName": name})
    except AwsError as error:
        if error.denied:
            raise JobFailure(f"ClientError: {error}") from error


def _condition(step: Step, context: StepContext) -> None:
    outcome = all(holds(c, context.values.resolve) for c in step.arguments["Conditions"])
    context.values.outputs[step.name] = {"Outcome": outcome}
    context.show(Condition={"Outcome": "True" if outcome else "False"})


def _fail(step: Step, context: StepContext) -> None:
    message = str(context.values.resolve(step.arguments.get("ErrorMessage", "")))
    context.show(Fail={"ErrorMessage": message})
    raise JobFailure(message)


def _model(step: Step, context: StepContext) -> None:
    request = _arguments(step, context, "CreateModel")
    name = _name(step, context, request.get("ModelName", ""))
    answer = _create("CreateModel", {**request, "ModelName": name}, step, context)
    context.show(Model={"Arn": answer["ModelArn"]})
    context.values.outputs[step.name] = state.public(state.store("model")[name])


def _register(step: Step, context: StepContext) -> None:
    """The client token makes a retried step register once."""
    request = _arguments(step, context, "CreateModelPackage")
    request.setdefault("ClientToken", f"{context.execution_id}-{step.name}".replace("_", "-")[:36])
    arn = _create("CreateModelPackage", request, step, context)["ModelPackageArn"]
    context.show(RegisterModel={"Arn": arn})
    context.values.outputs[step.name] = state.public(state.store("model-package")[state.arn_name(arn, "model-package")])


def _lambda(step: Step, context: StepContext) -> None:
    function = context.values.resolve(step.raw["FunctionArn"])
    payload = json.dumps(context.values.resolve(step.arguments)).encode()
    try:
        answer = context.client.invoke_lambda(function, payload)
    except AwsError as error:
        raise JobFailure(f"ClientError: {error}") from error
    if "x-amz-function-error" in answer.headers:
        raise JobFailure(f"ClientError: Lambda function {function} failed: {answer.body.decode('utf-8', 'replace')}")
    result = json.loads(answer.body or b"null")
    wanted = [o["OutputName"] for o in step.raw.get("OutputParameters", [])]
    missing = [n for n in wanted if not isinstance(result, dict) or n not in result]
    if missing:
        raise JobFailure(f"ClientError: Lambda function {function} did not return {', '.join(missing)}")
    found = {n: result[n] for n in wanted}
    context.values.outputs[step.name] = {"OutputParameters": found}
    pairs = [{"Name": n, "Value": str(v)} for n, v in found.items()]
    context.show(Lambda={"Arn": function, "OutputParameters": pairs})

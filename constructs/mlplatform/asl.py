"""Amazon States Language as plain dictionaries: every task retries with backoff and catches.

A definition made of dictionaries is read by the validators exactly as it is deployed; ARNs come
in by `${Name}` substitutions, so the text holds no tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

State = dict[str, Any]
Retries = list[dict[str, Any]]

# Errors that a second try can't change: said on purpose by a function, or a refused call.
PERMANENT_ERRORS = (
    "LeaseLost", "SignatureInvalid", "EvidenceMissing", "NeverPromoted", "VersionRejected", "OlderVersion",
    "PointerMoved", "InvalidInput", "States.ParameterPathFailure", "States.Permissions",
)
# How a StartExecution that was throttled, timed out or met a 5xx comes. The limit's name is that of AWS's page "Start
# workflow executions from a task state"; the exception's own name is there in case.
_NOT_STARTED = ("StepFunctions.AWSStepFunctionsException", "StepFunctions.SdkClientException",
                "StepFunctions.ExecutionLimitExceeded", "StepFunctions.ExecutionLimitExceededException")
_BACKOFF = {"IntervalSeconds": 2, "BackoffRate": 2.0, "MaxDelaySeconds": 60, "JitterStrategy": "FULL"}


def retries(*, attempts: int = 4, permanent: Sequence[str] = PERMANENT_ERRORS,
            patient: Mapping[str, int] | None = None) -> Retries:
    """Backoff with jitter on any failure but permanent ones. `patient`: error name -> seconds to wait it out."""
    rules: Retries = [{"ErrorEquals": list(permanent), "MaxAttempts": 0}] if permanent else []
    for error, seconds in (patient or {}).items():
        rules.append({"ErrorEquals": [error], "IntervalSeconds": 30, "BackoffRate": 1.0,
                      "MaxAttempts": max(1, seconds // 30)})
    rules.append({"ErrorEquals": ["States.TaskFailed", "States.Timeout"], "MaxAttempts": attempts, **_BACKOFF})
    return rules


def catch(next_: str, *errors: str, result: str = "$.error") -> dict[str, Any]:
    return {"ErrorEquals": list(errors or ("States.ALL",)), "ResultPath": result, "Next": next_}


def call(service: str, action: str, parameters: Mapping[str, Any], *, next_: str,
         on_error: str | Sequence[dict[str, Any]], result: str | None,
         select: Mapping[str, Any] | None = None, retry: Retries | None = None) -> State:
    """An AWS SDK call: `call("sagemaker", "createModel", {...})`. `result` None drops the answer."""
    return _task(f"arn:aws:states:::aws-sdk:{service}:{action}", dict(parameters), next_=next_, on_error=on_error,
                 result=result, select=select, retry=retry, timeout_s=None)


def function(name: str, payload: Mapping[str, Any], *, next_: str, on_error: str | Sequence[dict[str, Any]],
             result: str | None, fields: Sequence[str] = (), retry: Retries | None = None,
             timeout_s: int | None = None) -> State:
    """Invoke the function behind `${name}`; `fields` of its answer are kept under `result`."""
    select = {f"{field}.$": f"$.Payload.{field}" for field in fields} if fields else None
    return _task("arn:aws:states:::lambda:invoke", {"FunctionName": f"${{{name}}}", "Payload": dict(payload)},
                 next_=next_, on_error=on_error, result=result, select=select, retry=retry, timeout_s=timeout_s)


def child(machine: str, execution_name: str, arguments: Mapping[str, Any], *, next_: str,
          on_error: str | Sequence[dict[str, Any]], result: str | None,
          select: Mapping[str, Any] | None = None) -> State:
    """Run the machine behind `${machine}` to its end. The name makes a second start the same start."""
    parameters = {
        "StateMachineArn": f"${{{machine}}}", "Name.$": execution_name,
        "Input": {**arguments, "AWS_STEP_FUNCTIONS_STARTED_BY_EXECUTION_ID.$": "$$.Execution.Id"},
    }
    # A child that ran and failed must not run again: its own verdict is States.TaskFailed, which also stands for every
    # error of the start itself, so those that are worth another try come first. The same name is the same child.
    retry: Retries = [
        {"ErrorEquals": list(_NOT_STARTED), "MaxAttempts": 3, **_BACKOFF},
        {"ErrorEquals": ["States.TaskFailed"], "MaxAttempts": 0},
        {"ErrorEquals": ["States.ALL"], "MaxAttempts": 3, **_BACKOFF},
    ]
    return _task("arn:aws:states:::states:startExecution.sync:2", parameters, next_=next_, on_error=on_error,
                 result=result, select=select, retry=retry, timeout_s=None)


def _task(resource: str, parameters: dict[str, Any], *, next_: str, on_error: str | Sequence[dict[str, Any]],
          result: str | None, select: Mapping[str, Any] | None, retry: Retries | None, timeout_s: int | None) -> State:
    state: State = {"Type": "Task", "Resource": resource, "Parameters": parameters}
    if timeout_s is not None:
        state["TimeoutSeconds"] = timeout_s
    if select is not None:
        state["ResultSelector"] = dict(select)
    state["ResultPath"] = result
    state["Retry"] = retry if retry is not None else retries()
    state["Catch"] = [catch(on_error)] if isinstance(on_error, str) else list(on_error)
    state["Next"] = next_
    return state


def wait(seconds: int, *, next_: str) -> State:
    return {"Type": "Wait", "Seconds": seconds, "Next": next_}


def put(values: Any, *, at: str, next_: str) -> State:
    """Set a path to a value; keys ending in `.$` are computed."""
    computed = isinstance(values, Mapping) and any(k.endswith(".$") for k in values)
    return {"Type": "Pass", ("Parameters" if computed else "Result"): values, "ResultPath": at, "Next": next_}


def choose(*rules: dict[str, Any], default: str) -> State:
    return {"Type": "Choice", "Choices": list(rules), "Default": default}


def equals(path: str, value: str | bool, next_: str) -> dict[str, Any]:
    comparison = "BooleanEquals" if isinstance(value, bool) else "StringEquals"
    return {"Variable": path, comparison: value, "Next": next_}


def reaches(path: str, limit_path: str, next_: str) -> dict[str, Any]:
    """A number of the state's data that is another one or more."""
    return {"Variable": path, "NumericGreaterThanEqualsPath": limit_path, "Next": next_}


def matches(path: str, pattern: str, next_: str) -> dict[str, Any]:
    """A text with `*` for anything."""
    return {"Variable": path, "StringMatches": pattern, "Next": next_}


def both(first: dict[str, Any], second: dict[str, Any], next_: str) -> dict[str, Any]:
    strip = [{k: v for k, v in rule.items() if k != "Next"} for rule in (first, second)]
    return {"And": strip, "Next": next_}


def present(path: str, next_: str) -> dict[str, Any]:
    return {"Variable": path, "IsPresent": True, "Next": next_}


def succeed() -> State:
    return {"Type": "Succeed"}


def fail(error: str, cause: str) -> State:
    return {"Type": "Fail", "Error": error, "Cause": cause}


def fail_saying(error: str, cause_path: str) -> State:
    """Fail with a text of the state's own data as the cause."""
    return {"Type": "Fail", "Error": error, "CausePath": cause_path}


def notify(subject: str, message: str, *, next_: str) -> State:
    """Tell on-call through `${OnCallTopic}`: names and ids only, never a cause, which may quote customer text."""
    return _task("arn:aws:states:::sns:publish",
                 {"TopicArn": "${OnCallTopic}", "Subject": subject, "Message.$": message},
                 next_=next_, on_error=next_, result=None, select=None, retry=None, timeout_s=None)

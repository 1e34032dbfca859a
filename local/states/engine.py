"""Runs executions with the interpreter in place of ministack's own, which is lenient where AWS is not.

ministack keeps the API, the records and the events; this module fills the record of an execution while the
interpreter runs.
"""

from __future__ import annotations

import contextvars
import datetime
import json
import logging
import re
import threading
from typing import Any

from local import roles
from local.config import LocalConfig
from local.states import definitions
from local.states.clients import STATES_SERVICE

_LOG = logging.getLogger("local.states")
_RUNNING: dict[str, Any] = {}  # execution ARN -> interpreter environment
_NAME = re.compile(r"[^\s<>{}\[\]?*\"#%\\^|~`$&,;:/\x00-\x1f\x7f-\x9f]{1,80}")


def install(config: LocalConfig) -> None:
    from ministack.services import stepfunctions

    from local.states import interpreter

    interpreter.install(config)
    originals = {name: getattr(stepfunctions, name) for name in (
        "_create_state_machine", "_update_state_machine", "_start_execution", "_stop_execution")}
    stepfunctions._run_execution = _run
    stepfunctions._create_state_machine = lambda data: _checked(data) or originals["_create_state_machine"](data)
    stepfunctions._update_state_machine = lambda data: _checked(data) or originals["_update_state_machine"](data)
    stepfunctions._start_execution = lambda data: _start(data, originals["_start_execution"])
    stepfunctions._stop_execution = lambda data: _stop(data, originals["_stop_execution"])
    stepfunctions._describe_execution = _without_nulls(stepfunctions._describe_execution)
    stepfunctions._send_task_success = _send_task_success
    stepfunctions._send_task_failure = _send_task_failure
    stepfunctions._send_task_heartbeat = _send_task_heartbeat


class History(list):  # type: ignore[type-arg]
    """The events of an execution; closed once it ended, for a task that is still running may go on writing."""

    closed = False
    task = ""  # the state that is at work

    def append(self, event: Any) -> None:
        if self.closed:
            return
        plain = json.loads(json.dumps(event, default=str))
        super().append(plain)
        if "stateEnteredEventDetails" in plain:
            self.task = plain["stateEnteredEventDetails"]["name"]
        elif "stateExitedEventDetails" in plain:
            self.task = ""


def tasks_now() -> tuple[str, ...]:
    """MACHINE/STATE of each execution that is in a state at this moment."""
    from ministack.services import stepfunctions

    found = []
    for arn in list(_RUNNING):
        _, _, _, region, account, _, machine, _ = arn.split(":", 7)
        # The caller of this moment may look at another region.
        execution = stepfunctions._executions.get_scoped(account, region, arn)
        if execution is not None and execution["events"].task:
            found.append(f"{machine}/{execution['events'].task}")
    return tuple(found)


def _checked(data: dict[str, Any]) -> Any:
    """An error answer for a definition that AWS refuses, else None."""
    from ministack.core.responses import error_response_json

    if "definition" in data:
        try:
            definitions.program(data["definition"])
        except definitions.InvalidDefinition as error:
            return error_response_json("InvalidDefinition", f"Invalid State Machine Definition: '{error}'", 400)
    if data.get("roleArn"):
        try:
            roles.check_trust(data["roleArn"], STATES_SERVICE)
        except roles.RoleRefused as error:
            return error_response_json("AccessDeniedException", f"Neither the global service principal "
                                       f"{STATES_SERVICE}, nor the regional one is authorized to assume the "
                                       f"provided role. {error}", 400)
    return None


def _start(data: dict[str, Any], original: Any) -> Any:
    """Starting twice by one name and input is one execution while it runs; a bad input or name is refused."""
    from ministack.core.responses import error_response_json, get_account_id, get_region, json_response
    from ministack.services import stepfunctions

    data = {**data, "input": data.get("input") or "{}"}
    try:
        json.loads(data["input"])
    except ValueError as error:
        return error_response_json("InvalidExecutionInput", f"Invalid State Machine Execution Input: '{error}'", 400)
    name = data.get("name")
    if name is not None and not _NAME.fullmatch(name):
        return error_response_json("InvalidName", f"Invalid Name: '{name}' (1 to 80 characters, no white space, "
                                   "no <>{}[]?*\"#%\\^|~`$&,;:/)", 400)
    machine_arn = stepfunctions._resolve_state_machine_arn(data.get("stateMachineArn", ""))
    if name and machine_arn:
        machine = stepfunctions._state_machines[machine_arn]["name"]
        arn = f"arn:aws:states:{get_region()}:{get_account_id()}:execution:{machine}:{name}"
        old = stepfunctions._executions.get(arn)
        if old is not None and old["status"] == "RUNNING" and json.loads(old["input"]) == json.loads(data["input"]):
            return json_response({"executionArn": arn, "startDate": old["startDate"]})
    return original(data)


def _run(execution_arn: str) -> None:
    """In place of stepfunctions._run_execution: called in a thread of its own with the caller's account."""
    from ministack.services import stepfunctions

    execution = stepfunctions._executions.get(execution_arn)
    machine = stepfunctions._state_machines.get(execution["stateMachineArn"]) if execution else None
    if execution is None or machine is None:
        _LOG.error("execution %s or its state machine is gone", execution_arn)
        return
    history = execution["events"] = History(execution["events"])
    try:
        roles.check_trust(machine["roleArn"], STATES_SERVICE)
        environment = _environment(execution, machine, history)
        program = definitions.program(machine["definition"])
    except (roles.RoleRefused, definitions.InvalidDefinition) as error:
        _finish(execution, history, "FAILED", error="States.Runtime", cause=str(error))
        return
    _RUNNING[execution_arn] = environment
    try:
        if execution["status"] == "RUNNING":
            program.eval(environment)
            _settle(execution, history, environment)
    finally:
        _RUNNING.pop(execution_arn, None)


def _environment(execution: dict[str, Any], machine: dict[str, Any], history: History) -> Any:
    from moto.stepfunctions.parser.api import StateMachineType
    from moto.stepfunctions.parser.asl.eval.environment import Environment
    from moto.stepfunctions.parser.asl.eval.evaluation_details import AWSExecutionDetails
    from moto.stepfunctions.parser.asl.eval.event.event_manager import EventHistoryContext

    arn = execution["executionArn"]
    _, _, _, region, account, *_ = arn.split(":")
    environment = Environment(
        aws_execution_details=AWSExecutionDetails(account=account, region=region, role_arn=machine["roleArn"]),
        execution_type=StateMachineType(machine.get("type", "STANDARD")),
        context={  # type: ignore[arg-type]
            "Execution": {"Id": arn, "Input": json.loads(execution["input"]), "Name": execution["name"],
                          "RoleArn": machine["roleArn"], "StartTime": _zulu(execution["startDate"])},
            "StateMachine": {"Id": machine["stateMachineArn"], "Name": machine["name"]},
        },
        event_history_context=EventHistoryContext.of_program_start(),
        cloud_watch_logging_session=None,
        activity_store={},
    )
    environment.event_manager._history_event_list = history  # type: ignore[misc]
    environment.event_manager._event_id_gen._next_id = len(history) + 1
    return environment


def _settle(execution: dict[str, Any], history: History, environment: Any) -> None:
    """Write the interpreter's end into the record."""
    from moto.stepfunctions.parser.asl.eval import program_state
    from moto.stepfunctions.parser.asl.utils.encoding import to_json_str

    state = environment.program_state()
    if execution["status"] != "RUNNING":
        return  # stopped meanwhile: StopExecution wrote the end
    if isinstance(state, program_state.ProgramEnded):
        _finish(execution, history, "SUCCEEDED", output=to_json_str(environment.states.get_input(), (",", ":")))
    elif isinstance(state, program_state.ProgramTimedOut):
        history.append({"id": len(history) + 1, "type": "ExecutionTimedOut", "previousEventId": 0,
                        "timestamp": execution["startDate"] and _now(), "executionTimedOutEventDetails": {}})
        _finish(execution, history, "TIMED_OUT")
    elif isinstance(state, program_state.ProgramError):
        details = state.error or {}
        _finish(execution, history, "FAILED", error=details.get("error"), cause=details.get("cause"))
    else:
        _finish(execution, history, "FAILED", error="States.Runtime", cause=f"ended as {type(state).__name__}")


def _finish(execution: dict[str, Any], history: History, status: str, *, output: str | None = None,
            error: str | None = None, cause: str | None = None) -> None:
    from ministack.services import stepfunctions

    if status == "FAILED" and (not history or history[-1].get("type") != "ExecutionFailed"):
        history.append({"id": len(history) + 1, "type": "ExecutionFailed", "previousEventId": 0, "timestamp": _now(),
                        "executionFailedEventDetails": {"error": error, "cause": cause}})
    history.closed = True
    execution.update(output=output, error=error, cause=cause, stopDate=_now(), status=status)
    stepfunctions._emit_execution_status_event(execution)


def _stop(data: dict[str, Any], original: Any) -> Any:
    """End at once; a task that runs is left to finish unheard, as AWS leaves a Lambda it has called."""
    from ministack.services import stepfunctions

    arn = data.get("executionArn")
    answer = original(data)
    execution = stepfunctions._executions.get(arn)
    if execution and execution["status"] == "ABORTED":
        if isinstance(execution["events"], History):
            execution["events"].closed = True
        environment = _RUNNING.get(str(arn))
        if environment is not None:
            environment.set_stop(stop_date=datetime.datetime.now(datetime.UTC),
                                 error=data.get("error"), cause=data.get("cause"))
    return answer


def _without_nulls(original: Any) -> Any:
    """AWS leaves out what is not there yet; `$.StopDate` of a running execution is no null."""
    from ministack.core.responses import json_response

    def describe(data: dict[str, Any]) -> Any:
        status, headers, body = original(data)
        if status != 200:
            return status, headers, body
        answer = {key: value for key, value in json.loads(body).items() if value is not None}
        if "output" not in answer:
            answer.pop("outputDetails", None)
        return json_response(answer)

    return describe


def _notify(data: dict[str, Any], call: Any) -> Any:
    from ministack.core.responses import error_response_json, json_response
    from moto.stepfunctions.parser.asl.eval.callback.callback import (
        CallbackConsumerTimeout,
        CallbackNotifyConsumerError,
    )

    for environment in list(_RUNNING.values()):
        try:
            if call(environment.callback_pool_manager):
                return json_response({})
        except CallbackNotifyConsumerError as error:
            code = "TaskTimedOut" if isinstance(error, CallbackConsumerTimeout) else "TaskDoesNotExist"
            return error_response_json(code, f"{code}: the task of this token waits no more", 400)
    return error_response_json("InvalidToken", f"Invalid Token: '{data.get('taskToken')}'", 400)


def _send_task_success(data: dict[str, Any]) -> Any:
    from moto.stepfunctions.parser.asl.eval.callback.callback import CallbackOutcomeSuccess

    token = data.get("taskToken", "")
    outcome = CallbackOutcomeSuccess(callback_id=token, output=data.get("output", "{}"))
    return _notify(data, lambda pool: pool.notify(callback_id=token, outcome=outcome))


def _send_task_failure(data: dict[str, Any]) -> Any:
    from moto.stepfunctions.parser.asl.eval.callback.callback import CallbackOutcomeFailure

    token = data.get("taskToken", "")
    outcome = CallbackOutcomeFailure(callback_id=token, error=data.get("error"), cause=data.get("cause"))
    return _notify(data, lambda pool: pool.notify(callback_id=token, outcome=outcome))


def _send_task_heartbeat(data: dict[str, Any]) -> Any:
    token = data.get("taskToken", "")
    return _notify(data, lambda pool: pool.heartbeat(callback_id=token))


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def _zulu(iso: str) -> str:
    return iso if iso.endswith("Z") else iso.replace("+00:00", "Z")


def run_in_background(call: Any, *arguments: Any) -> threading.Thread:
    """A thread with the caller's account and region."""
    context = contextvars.copy_context()
    thread = threading.Thread(target=context.run, args=(call, *arguments), daemon=True)
    thread.start()
    return thread

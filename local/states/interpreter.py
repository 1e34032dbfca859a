"""moto's interpreter, mended. Each function here mends one defect; a self-test holds each."""

from __future__ import annotations

import collections
import re
import sys
import time
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

from local import roles
from local.config import LocalConfig
from local.states import casing, jsonata
from local.states.clients import ClientFactory

_INDEFINITE = re.compile(r"\*|\.\.|\?|\[[^\]'\"]*[:,][^\]'\"]*\]")


def install(config: LocalConfig) -> None:
    _speak_to_this_server(ClientFactory(config))
    _translate_cases()
    _resolve_paths()
    _scale_waits(config)
    _name_errors()
    _tell_states_errors_apart()
    _keep_quiet()
    from moto.stepfunctions.parser.asl.jsonata import jsonata as moto_jsonata

    moto_jsonata._eval_jsonata = jsonata.evaluate


def _speak_to_this_server(factory: ClientFactory) -> None:
    from moto.stepfunctions.parser.asl.utils import boto_client

    _replace_everywhere("boto_client_for", boto_client.boto_client_for, factory, at_least=5)


def _replace_everywhere(name: str, original: Any, ours: Any, *, at_least: int) -> None:
    """The function is imported by name into many modules: replace it in each that the parser has loaded."""
    from moto.stepfunctions.parser.asl.parse import asl_parser  # noqa: F401  (loads them)

    users = [module for key, module in list(sys.modules.items())
             if key.startswith("moto.stepfunctions") and getattr(module, name, None) is original]
    if len(users) < at_least:
        raise RuntimeError(f"{name} was found in {len(users)} modules of moto: not the version that we hook into")
    for module in users:
        setattr(module, name, ours)


def _keep_quiet() -> None:
    """moto prints the whole program for every failing state, and keeps every thread it ever started."""
    from moto.stepfunctions.parser import utils
    from moto.stepfunctions.parser.asl.component.eval_component import EvalComponent

    EvalComponent._log_failure_event_exception = lambda self, failure_event_exception: None
    EvalComponent._log_exception = lambda self, exception: None
    _replace_everywhere("TMP_THREADS", utils.TMP_THREADS, collections.deque(maxlen=0), at_least=3)


def _translate_cases() -> None:
    from moto.stepfunctions.parser.asl.component.state.exec.state_task.service import (
        state_task_service as base,
    )
    from moto.stepfunctions.parser.asl.component.state.exec.state_task.service.state_task_service_aws_sdk import (
        StateTaskServiceAwsSdk,
    )

    service_class = base.StateTaskService

    def parameters(self: Any, parameters: dict[str, Any], boto_service_name: str | None = None,
                   service_action_name: str | None = None) -> None:
        model = casing.operation(self._get_boto_service_name(boto_service_name),
                                 service_action_name or self.resource.api_action)
        translated = casing.to_boto(parameters, model.input_shape)
        parameters.clear()
        parameters.update(translated)

    def response(self: Any, response: Any, boto_service_name: str | None = None,
                 service_action_name: str | None = None) -> None:
        if not isinstance(response, dict):
            return
        model = casing.operation(self._get_boto_service_name(boto_service_name),
                                 service_action_name or self.resource.api_action)
        # the optimised integrations give times as milliseconds, the SDK integrations as text
        translated = casing.from_boto(response, model.output_shape,
                                      epoch_ms=not isinstance(self, StateTaskServiceAwsSdk))
        response.clear()
        response.update(translated)

    StateTaskServiceAwsSdk._normalise_service_error_name = staticmethod(casing.error_prefix)
    service_class._normalise_parameters = parameters
    service_class._normalise_response = response
    service_class._get_boto_service_name = lambda self, name=None: casing.boto_service(name or self.resource.api_name)
    service_class._get_boto_service_action = lambda self, name=None: _method_name(
        self._get_boto_service_name(), name or self.resource.api_action)


@lru_cache(maxsize=1024)
def _method_name(service: str, action: str) -> str:
    from botocore import xform_name

    return str(xform_name(casing.operation(service, action).name))


def _resolve_paths() -> None:
    """A path without wildcard, slice, filter or descent names one value; moto makes a list of `$.a[0].b`."""
    from jsonpath_ng.ext import parse
    from moto.stepfunctions.parser.asl.utils import json_path

    parsed = lru_cache(maxsize=2048)(parse)
    original = json_path.extract_json

    def extract(path: str, data: Any) -> Any:
        values = [match.value for match in parsed(path).find(data)]
        if not _INDEFINITE.search(path):
            if not values:
                raise json_path.NoSuchJsonPathError(json_path=path, data=data)
            return values[0]
        if re.search(r"\[-?\d+\]$", path) and len(values) == 1:
            return values[0]  # AWS unpacks a literal index at the end
        return values

    _replace_everywhere("extract_json", original, extract, at_least=3)


def _scale_waits(config: LocalConfig) -> None:
    from moto.stepfunctions.parser.asl.component.common.retry import retrier_decl
    from moto.stepfunctions.parser.asl.component.state.exec.state_task.service import (
        state_task_service_callback,
    )
    from moto.stepfunctions.parser.asl.component.state.wait.wait_function.wait_function import WaitFunction

    def wait(self: Any, env: Any) -> None:
        until = time.monotonic() + config.scaled(max(0, self._get_wait_seconds(env=env)))
        while env.is_running() and (left := until - time.monotonic()) > 0:
            env.program_state_event.wait(min(left, 0.2))  # the event is set and cleared at once: look often

    WaitFunction._eval_body = wait
    retrier_decl.time = SimpleNamespace(sleep=lambda seconds: time.sleep(config.scaled(seconds)))
    state_task_service_callback._DELAY_SECONDS_SYNC_CONDITION_CHECK = 0.1  # type: ignore[misc]


def _name_errors() -> None:
    """What the SDK does not model is `Lambda.AWSLambdaException`, `StepFunctions.AWSStepFunctionsException`."""
    from botocore.exceptions import ClientError, ParamValidationError
    from moto.stepfunctions.parser.asl.component.state.exec.execute_state import ExecutionState
    from moto.stepfunctions.parser.asl.component.state.exec.state_task.service.state_task_service_lambda import (
        StateTaskServiceLambda,
    )
    from moto.stepfunctions.parser.asl.component.state.exec.state_task.service.state_task_service_sfn import (
        StateTaskServiceSfn,
    )

    for kind, service, prefix, unmodelled in (
        (StateTaskServiceLambda, "lambda", "Lambda", "AWSLambdaException"),
        (StateTaskServiceSfn, "stepfunctions", "StepFunctions", "AWSStepFunctionsException"),
    ):
        _wrap_from_error(kind, service, prefix, unmodelled, ClientError)

    original = ExecutionState._from_error

    def from_error(self: Any, env: Any, ex: Exception) -> Any:
        if isinstance(ex, roles.RoleRefused):
            ex = _failure(self, env, "States.TaskFailed", f"{ex} (AccessDeniedException)")
        elif isinstance(ex, casing.UnknownParameter | ParamValidationError):
            ex = _failure(self, env, "States.Runtime", str(ex))
        return original(self, env=env, ex=ex)

    ExecutionState._from_error = from_error


def _wrap_from_error(kind: Any, service: str, prefix: str, unmodelled: str, client_error: Any) -> None:
    original = kind._from_error

    def from_error(self: Any, env: Any, ex: Exception) -> Any:
        if not isinstance(ex, client_error):
            return original(self, env=env, ex=ex)
        code = ex.response["Error"]["Code"]  # type: ignore[attr-defined]
        modelled = {shape.name for shape in casing.service_model(service).error_shapes}
        name = code if code in modelled else unmodelled
        if not name.endswith("Exception"):
            name += "Exception"
        meta = ex.response["ResponseMetadata"]  # type: ignore[attr-defined]
        text = (f"{ex.response['Error']['Message']} (Service: AWS{prefix}; "  # type: ignore[attr-defined]
                f"Status Code: {meta['HTTPStatusCode']}; Error Code: {code}; Request ID: {meta.get('RequestId')}; "
                "Proxy: null)")
        return _failure(self, env, f"{prefix}.{name}", text).failure_event

    kind._from_error = from_error


def _failure(task: Any, env: Any, error: str, cause: str) -> Any:
    from moto.stepfunctions.parser.api import HistoryEventType, TaskFailedEventDetails
    from moto.stepfunctions.parser.asl.component.common.error_name.error_name import ErrorName
    from moto.stepfunctions.parser.asl.component.common.error_name.failure_event import (
        FailureEvent,
        FailureEventException,
    )
    from moto.stepfunctions.parser.asl.eval.event.event_detail import EventDetails

    details = TaskFailedEventDetails(error=error, cause=cause)
    if hasattr(task, "_get_sfn_resource"):
        details |= {"resource": task._get_sfn_resource(), "resourceType": task._get_sfn_resource_type()}
    return FailureEventException(FailureEvent(
        env=env, error_name=ErrorName(error_name=error), event_type=HistoryEventType.TaskFailed,
        event_details=EventDetails(taskFailedEventDetails=details),
    ))


def _tell_states_errors_apart() -> None:
    """States.TaskFailed stands for every failure of a task but a timeout; States.ALL not for States.Runtime."""
    from moto.stepfunctions.parser.asl.component.common.error_name.error_equals_decl import ErrorEqualsDecl

    def matches(self: Any, env: Any) -> None:
        error = env.stack.pop().error_name
        names = {name.error_name for name in self.error_names}
        never = {"States.Runtime", "States.DataLimitExceeded"}
        result = error in names
        result = result or ("States.ALL" in names and error not in never)
        result = result or ("States.TaskFailed" in names and error != "States.Timeout" and error not in never)
        env.stack.append(result)

    ErrorEqualsDecl._eval_body = matches

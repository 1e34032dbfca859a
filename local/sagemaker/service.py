"""The HTTP face: one entry for SageMaker's JSON calls, for InvokeEndpoint and for the feature store runtime.

ministack calls `handle_request` on its event loop. Handlers run on threads of their own, because some call back
into the server.
"""

from __future__ import annotations

import json
from typing import Any

from ministack.core.concurrency import run_reentrant
from ministack.core.responses import new_uuid

from local.sagemaker import (
    endpoints,
    features,
    models,
    pipelines,
    processing,
    registry,
    restart,
    runtime,
    state,
    training,
    transform,
)
from local.sagemaker.errors import ApiError, not_supported
from local.sagemaker.operations import OPERATIONS
from local.sagemaker.roles import SAGEMAKER
from local.sagemaker.validation import check, service_model

_PARTS = (endpoints, features, models, pipelines, processing, registry, training, transform)  # fill OPERATIONS
Response = tuple[int, dict[str, str], bytes]
_ROLE_MEMBERS = ("RoleArn", "ExecutionRoleArn")


async def handle_request(method: str, path: str, headers: dict, body: bytes, query_params: dict) -> Response:
    """ministack's service protocol."""
    return await run_reentrant(
        _handle, method, path, headers, body, query_params, thread_name="sagemaker-request"
    )


def _handle(method: str, path: str, headers: dict, body: bytes, query_params: dict) -> Response:
    target = headers.get("x-amz-target", "")
    try:
        if target:
            return _json_call(target.rpartition(".")[2], body, headers)
        return runtime.handle(method, path, headers, body, query_params)
    except ApiError as error:
        return error_response(error)


def _json_call(operation: str, body: bytes, headers: dict) -> Response:
    try:
        request = json.loads(body or b"{}")
    except ValueError as error:
        raise ApiError("SerializationException", f"the request is not JSON: {error}") from error
    _check_pass_role(request, headers)
    answer = call(operation, request)
    return 200, {"Content-Type": "application/x-amz-json-1.1"}, json.dumps(answer, default=str).encode()


def call(operation: str, request: dict[str, Any]) -> dict[str, Any]:
    """One validated call. CloudFormation comes in here too."""
    found = OPERATIONS.get(operation)
    if found is None or found.service != "sagemaker":
        if operation not in service_model("sagemaker").operation_names:
            raise ApiError("UnknownOperationException", f"SageMaker has no operation {operation}")
        raise not_supported(f"operation {operation}")
    check("sagemaker", operation, request, found.members)
    return found.handler(request)


def _check_pass_role(request: dict[str, Any], headers: dict) -> None:
    for member in _ROLE_MEMBERS:
        if isinstance(role := request.get(member), str):
            check_pass_role(role, headers, to=SAGEMAKER)


def check_pass_role(role: str, headers: dict, *, to: str) -> None:
    """Who hands a role to a service needs iam:PassRole on it."""
    from ministack import app
    from ministack.core.iam_evaluator import enforce
    from ministack.core.router import extract_access_key_id

    if not app.AUTH:
        return
    denied = enforce(extract_access_key_id(headers), "iam:PassRole", "iam", "", resource_arn=role,
                     service_context={"iam:PassedToService": to})
    if denied:
        caller = getattr(denied, "principal_arn", "unknown caller")
        raise ApiError(
            "AccessDeniedException",
            f"User: {caller} is not authorized to perform: iam:PassRole on resource: {role} because no "
            "identity-based policy allows the iam:PassRole action",
        )


def error_response(error: ApiError) -> Response:
    body = {"__type": error.code, "message": error.message, "Message": error.message, **error.extra}
    headers = {
        "Content-Type": "application/x-amz-json-1.1",
        "x-amzn-ErrorType": error.code,
        "x-amzn-RequestId": new_uuid(),
    }
    return error.status, headers, json.dumps(body).encode()


# -- ministack's persistence protocol ----------------------------------------------------------------------


def get_state() -> dict[str, Any]:
    return state.snapshot()


def load_persisted_state(data: dict[str, Any]) -> None:
    restart.recover(data)


def reset() -> None:
    state.clear()

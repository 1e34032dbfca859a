"""The REST calls: InvokeEndpoint, InvokeEndpointAsync and the feature store runtime."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import unquote

from local.sagemaker.async_inference import invoke_endpoint_async
from local.sagemaker.errors import ApiError, not_supported
from local.sagemaker.invoke import invoke_endpoint
from local.sagemaker.operations import OPERATIONS
from local.sagemaker.validation import check

Response = tuple[int, dict[str, str], bytes]
_INVOKE = re.compile(r"/endpoints/([^/]+)/(invocations|async-invocations|invocations-response-stream)/?")
_FEATURES = re.compile(r"/FeatureGroup/(.+?)/?")
_FEATURE_STORE = "sagemaker-featurestore-runtime"
_BY_METHOD = {"PUT": "PutRecord", "GET": "GetRecord", "DELETE": "DeleteRecord"}


def handle(method: str, path: str, headers: dict, body: bytes, query: dict[str, list[str]]) -> Response:
    if match := _INVOKE.fullmatch(path):
        name, kind = unquote(match.group(1)), match.group(2)
        if kind == "invocations":
            return invoke_endpoint(name, headers, body)
        if kind == "async-invocations":
            return invoke_endpoint_async(name, headers)
        raise ApiError("ValidationError", not_supported("InvokeEndpointWithResponseStream").message)
    request = _body(body)
    if path == "/BatchGetRecord":
        return _feature_call("BatchGetRecord", request)
    if (match := _FEATURES.fullmatch(path)) and method in _BY_METHOD:
        request["FeatureGroupName"] = unquote(match.group(1))
        for member, name, many in (
            ("RecordIdentifierValueAsString", "RecordIdentifierValueAsString", False),
            ("EventTime", "EventTime", False), ("DeletionMode", "DeletionMode", False),
            ("ExpirationTimeResponse", "ExpirationTimeResponse", False),
            ("FeatureNames", "FeatureName", True), ("TargetStores", "TargetStores", True),
        ):
            if name in query:
                request[member] = query[name] if many else query[name][0]
        return _feature_call(_BY_METHOD[method], request)
    raise ApiError("UnknownOperationException", f"{method} {path} is no call of the embedded SageMaker", status=404)


def _body(body: bytes) -> dict[str, Any]:
    try:
        return json.loads(body or b"{}")
    except ValueError as error:
        raise ApiError("ValidationError", f"the request is not JSON: {error}") from error


def _feature_call(operation: str, request: dict[str, Any]) -> Response:
    found = OPERATIONS[operation]
    check(_FEATURE_STORE, operation, request, found.members)
    return 200, {"Content-Type": "application/json"}, json.dumps(found.handler(request)).encode()

"""InvokeEndpoint: one request to one variant, its metrics, and the copy that a shadow gets."""

from __future__ import annotations

import time
from collections.abc import Mapping

from local.sagemaker import state, telemetry
from local.sagemaker.endpoint_state import Endpoint, live
from local.sagemaker.errors import ApiError
from local.sagemaker.fleet import Fleet
from local.sagemaker.serving import ContainerDown, ServingContainer

MAX_BODY_BYTES = 6_291_456
_PASSED = {  # request header -> what the container sees
    "content-type": "Content-Type",
    "accept": "Accept",
    "x-amzn-sagemaker-custom-attributes": "X-Amzn-SageMaker-Custom-Attributes",
    "x-amzn-sagemaker-inference-id": "X-Amzn-SageMaker-Inference-Id",
    "x-amzn-sagemaker-session-id": "X-Amzn-SageMaker-Session-Id",
}
_REFUSED = ("target-model", "target-container-hostname", "enable-explanations", "inference-component", "session-id")


def invoke_endpoint(name: str, headers: Mapping[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
    began = time.perf_counter()
    for member in _REFUSED:
        if headers.get(f"x-amzn-sagemaker-{member}"):
            raise ApiError(
                "ValidationError", f"InvokeEndpoint: {member} is not supported by the embedded SageMaker"
            )
    if len(body) > MAX_BODY_BYTES:
        raise ApiError(
            "ValidationError", f"Body has {len(body)} bytes; it must have at most {MAX_BODY_BYTES}", status=413
        )
    endpoint = in_service(name)
    if endpoint.record.get("AsyncInferenceConfig"):
        raise ApiError("ValidationError", f"Endpoint {name} is asynchronous; use InvokeEndpointAsync")
    fleet = endpoint.serving()
    if fleet is None:
        raise ApiError("ServiceUnavailable", f"Endpoint {name} has no running container", status=503)
    variant, container = fleet.choose(headers.get("x-amzn-sagemaker-target-variant", ""))
    passed = {to: headers[h] for h, to in _PASSED.items() if h in headers}
    with container:
        shadow = fleet.shadow()
        if shadow:
            _mirror(endpoint, *shadow, body, passed)
        _, answer, content = _invoke(endpoint, variant, container, body, passed, began)
    reply = {
        "Content-Type": answer.get("content-type", "application/octet-stream"),
        "x-Amzn-Invoked-Production-Variant": variant,
    }
    if custom := answer.get("x-amzn-sagemaker-custom-attributes"):
        reply["X-Amzn-SageMaker-Custom-Attributes"] = custom
    return 200, reply, content


def in_service(name: str) -> Endpoint:
    record = state.store("endpoint").get(name)
    endpoint = live(record["EndpointArn"]) if record else None
    if record is None or endpoint is None or endpoint.active is None:
        account = state.arn("endpoint", name).split(":")[4]
        raise ApiError("ValidationError", f"Endpoint {name} of account {account} not found.")
    return endpoint


def _invoke(
    endpoint: Endpoint, variant: str, container: ServingContainer, body: bytes, passed: dict[str, str], began: float,
) -> tuple[int, dict[str, str], bytes]:
    started = time.perf_counter()
    try:
        status, answer, content = container.invoke(body, passed)
    except ContainerDown as down:
        record_metrics(endpoint, variant, 500, time.perf_counter() - started, 0.0)
        raise ApiError("ServiceUnavailable", str(down), status=503) from down
    model_s = time.perf_counter() - started
    record_metrics(endpoint, variant, status, model_s, time.perf_counter() - began - model_s)
    if status >= 400:
        raise model_error(endpoint, status, content)
    return status, answer, content


def model_error(endpoint: Endpoint, status: int, content: bytes) -> ApiError:
    """424 ModelError: what the container said, and its own status."""
    text = content.decode("utf-8", "replace")
    who = "client" if status < 500 else "server"
    group = f"/aws/sagemaker/Endpoints/{endpoint.name}"
    return ApiError(
        "ModelError",
        f'Received {who} error ({status}) from primary with message "{text}". See log group {group} for details.',
        status=424,
        extra={
            "OriginalStatusCode": status, "OriginalMessage": text,
            "LogStreamArn": f"arn:aws:logs:{endpoint.region}:{endpoint.account}:log-group:{group}",
        },
    )


def _mirror(
    endpoint: Endpoint, variant: str, container: ServingContainer, body: bytes, passed: dict[str, str]
) -> None:
    """A copy to the shadow variant: its answer is dropped, its metrics count."""

    def send() -> None:
        with container:
            started = time.perf_counter()
            try:
                status, _, _ = container.invoke(body, passed)
            except ContainerDown:
                status = 500
            record_metrics(endpoint, variant, status, time.perf_counter() - started, 0.0)

    state.background(send, name=f"shadow-{variant}")


def record_metrics(endpoint: Endpoint, variant: str, status: int, model_s: float, overhead_s: float) -> None:
    """The AWS/SageMaker metrics of one invocation; latencies are in microseconds."""
    dimensions = [{"Name": "EndpointName", "Value": endpoint.name}, {"Name": "VariantName", "Value": variant}]
    values = {
        "Invocations": (1, "Count"), "Invocation4XXErrors": (int(400 <= status < 500), "Count"),
        "Invocation5XXErrors": (int(status >= 500), "Count"), "InvocationModelErrors": (int(status >= 400), "Count"),
        "InvocationsPerInstance": (1, "Count"), "ModelLatency": (model_s * 1e6, "Microseconds"),
        "OverheadLatency": (max(0.0, overhead_s) * 1e6, "Microseconds"),
    }
    stamp = time.time()
    data = [
        {"MetricName": n, "Value": v, "Unit": unit, "Timestamp": stamp, "Dimensions": dimensions}
        for n, (v, unit) in values.items()
    ]
    telemetry.metric(endpoint.account, endpoint.region, "AWS/SageMaker", data)


def fleet_of(endpoint: Endpoint) -> Fleet:
    fleet = endpoint.serving()
    if fleet is None:
        raise ContainerDown(f"endpoint {endpoint.name} has no running container")
    return fleet

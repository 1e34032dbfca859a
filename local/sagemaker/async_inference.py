"""InvokeEndpointAsync: the request lies in S3, and so does the answer.

Workers of the endpoint take requests from a queue and call the container; the output goes to S3OutputPath under
the inference id, a failure to S3FailurePath, and either is told on its SNS topic.
"""

from __future__ import annotations

import json
import queue
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from local.sagemaker import state
from local.sagemaker.aws_http import AwsError, Client, split_s3_uri
from local.sagemaker.endpoint_state import Endpoint
from local.sagemaker.errors import ApiError
from local.sagemaker.invoke import fleet_of, in_service, record_metrics
from local.sagemaker.serving import ContainerDown

_DEFAULT_WORKERS = 4
_TIMEOUT_S = 900.0
_STOP = object()


@dataclass(frozen=True, kw_only=True)
class AsyncRequest:
    inference_id: str
    location: str
    output: str
    failure: str
    headers: dict[str, str] = field(default_factory=dict)
    timeout_s: float = _TIMEOUT_S


class AsyncQueue:
    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.requests: queue.Queue[Any] = queue.Queue()
        config = endpoint.record["AsyncInferenceConfig"]
        workers = config.get("ClientConfig", {}).get("MaxConcurrentInvocationsPerInstance", _DEFAULT_WORKERS)
        self.workers = [state.background(self._work, name=f"async-{endpoint.name}-{i}") for i in range(workers)]

    def close(self) -> None:
        for _ in self.workers:
            self.requests.put(_STOP)

    def _work(self) -> None:
        while (request := self.requests.get()) is not _STOP:
            try:
                self._answer(request)
            except (AwsError, ApiError, OSError, ContainerDown) as error:
                state.logger.warning("async request %s: %s", request.inference_id, error)

    def _answer(self, request: AsyncRequest) -> None:
        variant, container = fleet_of(self.endpoint).choose()
        client = container.client
        status, content, kind = 0, b"", "application/octet-stream"
        try:
            body = client.get_bytes(*split_s3_uri(request.location))
            with container:
                status, answer, content = container.invoke(body, request.headers, request.timeout_s)
            kind = answer.get("content-type", kind)
        except (AwsError, ContainerDown) as error:
            status, content = 500, str(error).encode()
        record_metrics(self.endpoint, variant, status, 0.0, 0.0)
        target = request.output if status < 400 else request.failure
        if target:
            client.put_bytes(*split_s3_uri(target), content, content_type=kind)
        self._notify(request, status, content, client)

    def _notify(self, request: AsyncRequest, status: int, content: bytes, client: Client) -> None:
        topics = self.endpoint.record["AsyncInferenceConfig"]["OutputConfig"].get("NotificationConfig", {})
        topic = topics.get("SuccessTopic" if status < 400 else "ErrorTopic")
        if not topic:
            return
        message = {
            "awsRegion": self.endpoint.region, "eventSource": "aws:sagemaker",
            "eventName": "InferenceResult", "invocationStatus": "Completed" if status < 400 else "Failed",
            "inferenceId": request.inference_id, "requestParameters": {
                "endpointName": self.endpoint.name, "inputLocation": request.location,
            },
            "responseParameters": {"outputLocation": request.output},
        }
        if status >= 400:
            message["failureReason"] = content.decode("utf-8", "replace")[:1024]
        form = urlencode({"Action": "Publish", "TopicArn": topic, "Message": json.dumps(message)})
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        client.send("POST", "/", "sns", headers=kind, body=form.encode())


def invoke_endpoint_async(name: str, headers: Mapping[str, str]) -> tuple[int, dict[str, str], bytes]:
    endpoint = in_service(name)
    if endpoint.queue is None:
        raise ApiError("ValidationError", f"Endpoint {name} has no AsyncInferenceConfig; use InvokeEndpoint")
    prefix = "x-amzn-sagemaker-"
    location = headers.get(prefix + "inputlocation", "")
    if not location.startswith("s3://"):
        raise ApiError("ValidationError", f"InputLocation must be an s3:// URI, got {location!r}")
    for member in ("s3outputpathextension", "filename", "requestttlseconds"):
        if headers.get(prefix + member):
            raise ApiError(
                "ValidationError", f"InvokeEndpointAsync: {member} is not supported by the embedded SageMaker"
            )
    inference_id = headers.get(prefix + "inference-id") or str(uuid.uuid4())
    config = endpoint.record["AsyncInferenceConfig"]["OutputConfig"]
    file = f"{inference_id}.out"
    failure = config.get("S3FailurePath", "")
    passed = {
        "content-type": "Content-Type", "accept": "Accept",
        "custom-attributes": "X-Amzn-SageMaker-Custom-Attributes",
    }
    request = AsyncRequest(
        inference_id=inference_id, location=location, output=f"{config['S3OutputPath'].rstrip('/')}/{file}",
        failure=f"{failure.rstrip('/')}/{inference_id}-error.out" if failure else "",
        headers={to: headers[prefix + h] for h, to in passed.items() if prefix + h in headers},
        timeout_s=float(headers.get(prefix + "invocationtimeoutseconds") or _TIMEOUT_S),
    )
    endpoint.queue.requests.put(request)
    reply = {"Content-Type": "application/json", "X-Amzn-SageMaker-OutputLocation": request.output}
    if request.failure:
        reply["X-Amzn-SageMaker-FailureLocation"] = request.failure
    return 202, reply, json.dumps({"InferenceId": inference_id}).encode()

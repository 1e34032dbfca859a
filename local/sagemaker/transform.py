"""Batch transform: a model's serving container over every object under a prefix."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from local.sagemaker import jobs, roles, state
from local.sagemaker.aws_http import split_s3_uri
from local.sagemaker.errors import JobFailure
from local.sagemaker.models import find_model
from local.sagemaker.operations import PAGE, TIMES, operation
from local.sagemaker.serving import ContainerDown, ServingContainer, resolve_package
from local.sagemaker.validation import one_of

_MAX_PAYLOAD_MB = 6
_INVOCATION_TIMEOUT_S = 600.0


@operation(
    "CreateTransformJob",
    "TransformJobName ModelName MaxConcurrentTransforms MaxPayloadInMB BatchStrategy Environment Tags "
    "ExperimentConfig ModelClientConfig TransformInput TransformOutput TransformResources",
)
def create_transform_job(request: dict[str, Any]) -> dict[str, Any]:
    model = find_model(request["ModelName"])
    source, output = request["TransformInput"], request["TransformOutput"]
    one_of(source["DataSource"]["S3DataSource"]["S3DataType"], ("S3Prefix",), "S3DataType")
    one_of(source.get("CompressionType", "None"), ("None",), "CompressionType")
    one_of(source.get("SplitType", "None"), ("None", "Line"), "SplitType")
    one_of(output.get("AssembleWith", "None"), ("None", "Line"), "AssembleWith")
    jobs.one_instance(request["TransformResources"])
    roles.check_trust(model["ExecutionRoleArn"])
    record = jobs.new_job("transform-job", "Transform", request, {})
    TransformJob(record, resolve_package(model)).start()
    return {"TransformJobArn": record["TransformJobArn"]}


class TransformJob(jobs.Job):
    kind, prefix = "transform-job", "Transform"
    detail_type = "SageMaker Transform Job State Change"
    log_group = "/aws/sagemaker/TransformJobs"

    def __init__(self, record: dict[str, Any], model: dict[str, Any]) -> None:
        super().__init__(record)
        self.model = model

    def run(self) -> None:
        client = self.assume(self.model["ExecutionRoleArn"])
        self.update(TransformStartTime=state.now())
        payload = self.record.get("MaxPayloadInMB", _MAX_PAYLOAD_MB)
        batch = {
            "SAGEMAKER_BATCH": "true", "SAGEMAKER_MAX_PAYLOAD_IN_MB": str(payload),
            "SAGEMAKER_BATCH_STRATEGY": self.record.get("BatchStrategy", "MultiRecord"),
            **self.record.get("Environment", {}),
        }
        inner = self.model["PrimaryContainer"]
        inner = {**inner, "Environment": {**inner.get("Environment", {}), **batch}}
        container = ServingContainer(
            model={**self.model, "PrimaryContainer": inner}, folder=self.work / "container",
            what=f"transform job {self.name}", client=client, on_lines=self.log,
        )
        try:
            container.start()
            self._transform(container, payload << 20)
        finally:
            container.close()
        self.end("Stopped" if self.stopping.is_set() else "Completed")

    def _transform(self, container: ServingContainer, payload: int) -> None:
        uri = self.record["TransformInput"]["DataSource"]["S3DataSource"]["S3Uri"]
        bucket, prefix = split_s3_uri(uri)
        keys = [k for k, _ in self.client.list_objects(bucket, prefix) if not k.endswith("/")]
        if not keys:
            raise JobFailure(f"ClientError: no object under {uri}")
        with ThreadPoolExecutor(self.record.get("MaxConcurrentTransforms") or 1) as pool:
            list(pool.map(lambda key: self._object(container, bucket, prefix, key, payload), keys))

    def _object(self, container: ServingContainer, bucket: str, prefix: str, key: str, payload: int) -> None:
        """One input object to one output object, `<name>.out`."""
        if self.stopping.is_set():
            return
        whole = self.work / "data" / f"{state.new_id()}.in"
        self.client.download(bucket, key, whole)
        output = self.record["TransformOutput"]
        joiner = b"\n" if output.get("AssembleWith") == "Line" else b""
        result = whole.with_suffix(".out")
        with result.open("wb") as sink:
            for body in self._batches(whole, payload):
                answer = self._invoke(container, body, key)
                sink.write(answer + (joiner if not answer.endswith(joiner) or not joiner else b""))
        target, base = split_s3_uri(output["S3OutputPath"].rstrip("/") + "/")
        name = key[len(prefix) :].lstrip("/") if key.startswith(prefix) and key != prefix else key.rsplit("/", 1)[-1]
        self.client.upload(target, f"{base}{name}.out", result, kms_key=output.get("KmsKeyId", ""))
        whole.unlink()
        result.unlink()

    def _batches(self, file: Any, payload: int) -> Iterator[bytes]:
        """The whole file, one line each, or as many lines as the payload takes."""
        if self.record["TransformInput"].get("SplitType", "None") == "None":
            if file.stat().st_size > payload:
                size = file.stat().st_size
                raise JobFailure(f"ClientError: an object has {size} bytes, MaxPayloadInMB allows {payload}")
            yield file.read_bytes()
            return
        single = self.record.get("BatchStrategy", "MultiRecord") == "SingleRecord"
        batch = b""
        with file.open("rb") as lines:
            for line in lines:
                if batch and (single or len(batch) + len(line) > payload):
                    yield batch
                    batch = b""
                batch += line
        if batch:
            yield batch

    def _invoke(self, container: ServingContainer, body: bytes, key: str) -> bytes:
        headers = {"Content-Type": self.record["TransformInput"].get("ContentType", "application/octet-stream")}
        if "Accept" in self.record["TransformOutput"]:
            headers["Accept"] = self.record["TransformOutput"]["Accept"]
        options = self.record.get("ModelClientConfig", {})
        timeout = float(options.get("InvocationsTimeoutInSeconds", _INVOCATION_TIMEOUT_S))
        reason = ""
        for _ in range(options.get("InvocationsMaxRetries", 3) + 1):
            try:
                with container:
                    status, _, content = container.invoke(body, headers, timeout)
            except ContainerDown as down:
                status, content = 500, str(down).encode()
            if status < 400:
                return content
            reason = f"{status} {content[:500].decode('utf-8', 'replace')}"
            if status < 500:
                break
        raise JobFailure(f"AlgorithmError: the model refused a record of {key}: {reason}")


@operation("DescribeTransformJob", "TransformJobName")
def describe_transform_job(request: dict[str, Any]) -> dict[str, Any]:
    with state.LOCK:
        return state.public(jobs.find_job("transform-job", request["TransformJobName"]))


@operation("StopTransformJob", "TransformJobName")
def stop_transform_job(request: dict[str, Any]) -> dict[str, Any]:
    return jobs.stop_job("transform-job", "Transform", request)


@operation("ListTransformJobs", f"{PAGE} {TIMES}")
def list_transform_jobs(request: dict[str, Any]) -> dict[str, Any]:
    return state.listing(
        list(state.store("transform-job").values()), request, answer="TransformJobSummaries",
        summary=("TransformJobName", "TransformJobArn", "CreationTime", "TransformEndTime", "LastModifiedTime",
                 "TransformJobStatus", "FailureReason"),
    )

"""Processing jobs: any container over input folders, with output folders uploaded at the end."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from local.sagemaker import jobs, roles, s3_channels, state
from local.sagemaker.errors import JobFailure, invalid
from local.sagemaker.operations import PAGE, TIMES, operation
from local.sagemaker.sandbox import Sandbox
from local.sagemaker.validation import one_of

_MAX_RUNTIME_S = 86_400
_EXIT_MESSAGE_BYTES = 1024
_CONTINUOUS_EVERY_S = 1.0


@operation(
    "CreateProcessingJob",
    "ProcessingJobName RoleArn Environment Tags ExperimentConfig NetworkConfig StoppingCondition "
    "ProcessingInputs.InputName ProcessingInputs.AppManaged ProcessingInputs.S3Input.S3Uri "
    "ProcessingInputs.S3Input.LocalPath ProcessingInputs.S3Input.S3DataType ProcessingInputs.S3Input.S3InputMode "
    "ProcessingInputs.S3Input.S3DataDistributionType ProcessingInputs.S3Input.S3CompressionType "
    "ProcessingOutputConfig.KmsKeyId ProcessingOutputConfig.Outputs.OutputName "
    "ProcessingOutputConfig.Outputs.AppManaged ProcessingOutputConfig.Outputs.S3Output "
    "ProcessingResources.ClusterConfig AppSpecification.ImageUri AppSpecification.ContainerEntrypoint "
    "AppSpecification.ContainerArguments",
)
def create_processing_job(request: dict[str, Any]) -> dict[str, Any]:
    jobs.one_instance(request["ProcessingResources"]["ClusterConfig"])
    for item in request.get("ProcessingInputs", []):
        _check_input(item)
    for item in request.get("ProcessingOutputConfig", {}).get("Outputs", []):
        if "S3Output" not in item or "LocalPath" not in item["S3Output"]:
            raise invalid(f"ProcessingOutput {item['OutputName']!r} must have S3Output with LocalPath")
    roles.check_trust(request["RoleArn"])
    record = jobs.new_job("processing-job", "Processing", request, {})
    ProcessingJob(record).start()
    return {"ProcessingJobArn": record["ProcessingJobArn"]}


def _check_input(item: dict[str, Any]) -> None:
    name = item["InputName"]
    if "S3Input" not in item or "LocalPath" not in item["S3Input"]:
        raise invalid(f"ProcessingInput {name!r} must have S3Input with LocalPath")
    one_of(item["S3Input"].get("S3DataType", "S3Prefix"), ("S3Prefix",), f"S3DataType of input {name!r}")
    one_of(item["S3Input"].get("S3InputMode", "File"), ("File",), f"S3InputMode of input {name!r}")
    one_of(item["S3Input"].get("S3CompressionType", "None"), ("None",), f"S3CompressionType of input {name!r}")


class ProcessingJob(jobs.Job):
    kind, prefix = "processing-job", "Processing"
    detail_type = "SageMaker Processing Job State Change"
    log_group = "/aws/sagemaker/ProcessingJobs"

    def run(self) -> None:
        self.assume(self.record["RoleArn"])
        self.box = self.sandbox(self.record["AppSpecification"]["ImageUri"])
        self.outputs = self.record.get("ProcessingOutputConfig", {}).get("Outputs", [])
        self.key = self.record.get("ProcessingOutputConfig", {}).get("KmsKeyId", "")
        self.continuous_last = time.monotonic()
        self._folders()
        if self.stopping.is_set():
            self.end("Stopped")
            return
        self.update(ProcessingStartTime=state.now())
        limit = self.record.get("StoppingCondition", {}).get("MaxRuntimeInSeconds", _MAX_RUNTIME_S)
        command, environment = self._container()
        ended, code = self.run_process(command, environment, self.box.workdir(), limit)
        message = _exit_message(self.box)
        self.update(ExitMessage=message or None)
        if ended == "exited" and code != 0:
            text = message[:900] or "See job logs for more information"
            raise JobFailure(f"AlgorithmError: {text}, exit code: {code}")
        if ended == "timeout":
            self.end("Stopped", FailureReason="Processing job exceeded MaxRuntimeInSeconds")
            return
        for item in self.outputs:
            folder = self._local(item["S3Output"]["LocalPath"])
            s3_channels.upload_tree(self.client, folder, item["S3Output"]["S3Uri"], kms_key=self.key)
        self.end("Completed" if ended == "exited" else "Stopped")

    def _folders(self) -> None:
        for item in self.record.get("ProcessingInputs", []):
            source = item["S3Input"]
            s3_channels.download_prefix(
                self.client, source["S3Uri"], self._local(source["LocalPath"]), role=self.record["RoleArn"],
                what=f"input {item['InputName']!r}",
            )
        for item in self.outputs:
            self._local(item["S3Output"]["LocalPath"]).mkdir(parents=True, exist_ok=True)
        self.box.path("/opt/ml/output").mkdir(parents=True, exist_ok=True)
        config = self.box.path("/opt/ml/config")
        config.mkdir(parents=True, exist_ok=True)
        (config / "processingjobconfig.json").write_text(json.dumps(state.public(self.record)))
        hosts = {"current_host": "algo-1", "hosts": ["algo-1"]}
        (config / "resourceconfig.json").write_text(json.dumps(hosts))

    def _local(self, path: str) -> Path:
        if not path.startswith("/opt/ml/processing"):
            raise JobFailure(f"ClientError: LocalPath {path!r} must be below /opt/ml/processing")
        return self.box.path(path)

    def _container(self) -> tuple[list[str], dict[str, str]]:
        isolated = self.record.get("NetworkConfig", {}).get("EnableNetworkIsolation", False)
        own = {"PROCESSING_JOB_NAME": self.name, "PROCESSING_JOB_ARN": self.arn}
        aws = roles.environment(self.client, isolated=isolated)
        environment = self.box.environment(self.record.get("Environment", {}), own, aws)
        application, image = self.record["AppSpecification"], self.box.image.config
        entrypoint = application.get("ContainerEntrypoint") or image.entrypoint
        arguments = application.get("ContainerArguments") or ([] if "ContainerEntrypoint" in application else image.cmd)
        if not entrypoint and not arguments:
            raise JobFailure("ClientError: the image has no ENTRYPOINT and the job has no ContainerEntrypoint")
        return self.box.command([*entrypoint, *arguments]), environment

    def while_running(self) -> None:
        """S3UploadMode Continuous: files go out while the container runs."""
        if time.monotonic() - self.continuous_last < _CONTINUOUS_EVERY_S:
            return
        self.continuous_last = time.monotonic()
        for item in self.outputs:
            if item["S3Output"].get("S3UploadMode") == "Continuous":
                folder = self._local(item["S3Output"]["LocalPath"])
                s3_channels.upload_tree(self.client, folder, item["S3Output"]["S3Uri"], kms_key=self.key)


def _exit_message(box: Sandbox) -> str:
    file = box.path("/opt/ml/output/message")
    if not file.is_file():
        return ""
    return file.read_bytes()[:_EXIT_MESSAGE_BYTES].decode("utf-8", "ignore").strip()


@operation("DescribeProcessingJob", "ProcessingJobName")
def describe_processing_job(request: dict[str, Any]) -> dict[str, Any]:
    with state.LOCK:
        return state.public(jobs.find_job("processing-job", request["ProcessingJobName"]))


@operation("StopProcessingJob", "ProcessingJobName")
def stop_processing_job(request: dict[str, Any]) -> dict[str, Any]:
    return jobs.stop_job("processing-job", "Processing", request)


@operation("ListProcessingJobs", f"{PAGE} {TIMES}")
def list_processing_jobs(request: dict[str, Any]) -> dict[str, Any]:
    return state.listing(
        list(state.store("processing-job").values()), request, answer="ProcessingJobSummaries",
        summary=("ProcessingJobName", "ProcessingJobArn", "CreationTime", "ProcessingEndTime",
                 "LastModifiedTime", "ProcessingJobStatus", "FailureReason", "ExitMessage"),
    )

"""Training jobs: CreateTrainingJob and its companions.

Script mode works as in AWS's sagemaker-training toolkit: an image or job with SAGEMAKER_PROGRAM gets the SM_*
variables and its hyperparameters as `--key value`.
"""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

from local.sagemaker import jobs, roles, s3_channels, state
from local.sagemaker.checkpoints import CheckpointSync
from local.sagemaker.errors import JobFailure
from local.sagemaker.operations import PAGE, TIMES, operation
from local.sagemaker.sandbox import Sandbox
from local.sagemaker.script_mode import script_mode_environment, toolkit_command
from local.sagemaker.validation import one_of

_MAX_RUNTIME_S = 86_400  # AWS's default


@operation(
    "CreateTrainingJob",
    "TrainingJobName HyperParameters RoleArn Environment Tags VpcConfig EnableNetworkIsolation "
    "EnableInterContainerTrafficEncryption EnableManagedSpotTraining ExperimentConfig "
    "AlgorithmSpecification.TrainingImage AlgorithmSpecification.TrainingInputMode "
    "AlgorithmSpecification.MetricDefinitions AlgorithmSpecification.EnableSageMakerMetricsTimeSeries "
    "AlgorithmSpecification.ContainerEntrypoint AlgorithmSpecification.ContainerArguments "
    "InputDataConfig.ChannelName InputDataConfig.ContentType InputDataConfig.CompressionType "
    "InputDataConfig.RecordWrapperType InputDataConfig.InputMode InputDataConfig.DataSource.S3DataSource.S3Uri "
    "InputDataConfig.DataSource.S3DataSource.S3DataType "
    "InputDataConfig.DataSource.S3DataSource.S3DataDistributionType "
    "OutputDataConfig.S3OutputPath OutputDataConfig.KmsKeyId OutputDataConfig.CompressionType "
    "ResourceConfig.InstanceType ResourceConfig.InstanceCount ResourceConfig.VolumeSizeInGB "
    "ResourceConfig.VolumeKmsKeyId StoppingCondition.MaxRuntimeInSeconds StoppingCondition.MaxWaitTimeInSeconds "
    "CheckpointConfig.S3Uri CheckpointConfig.LocalPath",
)
def create_training_job(request: dict[str, Any]) -> dict[str, Any]:
    jobs.one_instance(request["ResourceConfig"])
    for channel in request.get("InputDataConfig", []):
        _check_channel(channel)
    roles.check_trust(request["RoleArn"])
    record = jobs.new_job(
        "training-job", "Training", request,
        {"SecondaryStatus": "Starting", "SecondaryStatusTransitions": [], "ModelArtifacts": None},
    )
    TrainingJob(record).start()
    return {"TrainingJobArn": record["TrainingJobArn"]}


def _check_channel(channel: dict[str, Any]) -> None:
    name, source = channel["ChannelName"], channel["DataSource"]["S3DataSource"]
    one_of(source["S3DataType"], ("S3Prefix",), f"S3DataType of channel {name!r}")
    one_of(channel.get("InputMode", "File"), ("File", "FastFile"), f"InputMode of channel {name!r}")
    one_of(channel.get("CompressionType", "None"), ("None",), f"CompressionType of channel {name!r}")
    one_of(channel.get("RecordWrapperType", "None"), ("None",), f"RecordWrapperType of channel {name!r}")


class TrainingJob(jobs.Job):
    kind, prefix = "training-job", "Training"
    detail_type = "SageMaker Training Job State Change"
    log_group = "/aws/sagemaker/TrainingJobs"

    def run(self) -> None:
        self.metrics: dict[str, float] = {}
        definitions = self.record["AlgorithmSpecification"].get("MetricDefinitions", [])
        self.patterns = [(m["Name"], re.compile(m["Regex"])) for m in definitions]
        self._enter("Starting", "Preparing the instances for training")
        self.assume(self.record["RoleArn"])
        sandbox = self.sandbox(self.record["AlgorithmSpecification"]["TrainingImage"])
        self._enter("Downloading", "Downloading input data")
        self._inputs(sandbox)
        command, environment = self._container(sandbox)
        if self.stopping.is_set():
            self._finish("Stopped", "Stopped", "Training job stopped")
            return
        self._enter("Training", "Training image download completed. Training in progress.")
        self.update(TrainingStartTime=state.now())
        began = time.monotonic()
        limit = self.record.get("StoppingCondition", {}).get("MaxRuntimeInSeconds", _MAX_RUNTIME_S)
        ended, code = self.run_process(command, environment, sandbox.workdir(), limit)
        self._checkpoints_done()
        seconds = max(1, round(time.monotonic() - began))
        self.update(TrainingTimeInSeconds=seconds, BillableTimeInSeconds=seconds)
        if ended == "exited" and code != 0:
            self._outputs(sandbox, model=False)
            raise JobFailure(f"AlgorithmError: {_failure_text(sandbox)}, exit code: {code}")
        self._enter("Uploading", "Uploading generated training model")
        self._outputs(sandbox, model=True)
        status, secondary = {
            "exited": ("Completed", "Completed"), "stopped": ("Stopped", "Stopped"),
            "timeout": ("Stopped", "MaxRuntimeExceeded"),
        }[ended]
        self._finish(status, secondary, f"Training job {secondary.lower()}")

    def _enter(self, secondary: str, message: str) -> None:
        stamp = state.now()
        with state.LOCK:
            steps = self.record["SecondaryStatusTransitions"]
            if steps:
                steps[-1]["EndTime"] = stamp
            steps.append({"Status": secondary, "StartTime": stamp, "StatusMessage": message})
        self.update(SecondaryStatus=secondary)
        self.announce()

    def _finish(self, status: str, secondary: str, message: str) -> None:
        self.update(SecondaryStatus=secondary)
        self._transition_end(secondary, message)
        jobs.Job.end(self, status)

    def end(self, status: str, **fields: Any) -> None:
        """A failure from anywhere: the transitions tell it too."""
        self.update(SecondaryStatus=status)
        self._transition_end(status, fields.get("FailureReason", status))
        super().end(status, **fields)

    def _transition_end(self, secondary: str, message: str) -> None:
        stamp = state.now()
        with state.LOCK:
            steps = self.record["SecondaryStatusTransitions"]
            if steps:
                steps[-1].setdefault("EndTime", stamp)
            steps.append(
                {"Status": secondary, "StartTime": stamp, "EndTime": stamp, "StatusMessage": message}
            )
            self.record["FinalMetricDataList"] = [
                {"MetricName": n, "Value": v, "Timestamp": stamp} for n, v in self.metrics.items()
            ] or None

    # -- files ------------------------------------------------------------------------------------------

    def _inputs(self, sandbox: Sandbox) -> None:
        for folder in ("model", "output/data", "input/config", "code", "checkpoints"):
            sandbox.path(f"/opt/ml/{folder}").mkdir(parents=True, exist_ok=True)
        channels: dict[str, Any] = {}
        for channel in self.record.get("InputDataConfig", []):
            name = channel["ChannelName"]
            channels[name] = {
                "TrainingInputMode": "File", "S3DistributionType": "FullyReplicated", "RecordWrapperType": "None",
                **({"ContentType": channel["ContentType"]} if "ContentType" in channel else {}),
            }
            uri = channel["DataSource"]["S3DataSource"]["S3Uri"]
            s3_channels.download_prefix(
                self.client, uri, sandbox.path(f"/opt/ml/input/data/{name}"), role=self.record["RoleArn"],
                what="input data source",
            )
        resources = {
            "current_host": "algo-1", "hosts": ["algo-1"], "network_interface_name": "lo",
            "current_instance_type": self.record["ResourceConfig"].get("InstanceType"),
        }
        for file, content in (
            ("hyperparameters", self.record.get("HyperParameters", {})),
            ("inputdataconfig", channels),
            ("resourceconfig", resources),
        ):
            sandbox.path(f"/opt/ml/input/config/{file}.json").write_text(json.dumps(content))
        self.checkpoints = CheckpointSync.begin(self.record.get("CheckpointConfig"), self.client, sandbox)

    def _container(self, sandbox: Sandbox) -> tuple[list[str], dict[str, str]]:
        isolated = self.record.get("EnableNetworkIsolation", False)
        own = {
            "TRAINING_JOB_NAME": self.name, "TRAINING_JOB_ARN": self.arn,
            **roles.environment(self.client, isolated=isolated),
        }
        environment = sandbox.environment(self.record.get("Environment", {}), own)
        algorithm, image = self.record["AlgorithmSpecification"], sandbox.image.config
        arguments = algorithm.get("ContainerArguments", [])
        if "ContainerEntrypoint" in algorithm:
            return sandbox.command([*algorithm["ContainerEntrypoint"], *arguments]), environment
        hyperparameters = self.record.get("HyperParameters", {})
        program = hyperparameters.get("sagemaker_program") or environment.get("SAGEMAKER_PROGRAM")
        if program:
            environment |= script_mode_environment(self.record, sandbox, program)
            return toolkit_command(sandbox, environment, program, hyperparameters), environment
        if image.entrypoint:
            return sandbox.command([*image.entrypoint, *(arguments or ["train"])]), environment
        return sandbox.command(["train", *arguments]), environment

    def on_lines(self, lines: list[str]) -> None:
        for name, pattern in self.patterns:
            for line in lines:
                if match := pattern.search(line):
                    self.metrics[name] = float(match.group(1))
        self.log(lines)

    def while_running(self) -> None:
        if self.checkpoints:
            self.checkpoints.tick()

    def _checkpoints_done(self) -> None:
        if self.checkpoints:
            self.checkpoints.sync(settled_s=0)

    def _outputs(self, sandbox: Sandbox, *, model: bool) -> None:
        config = self.record["OutputDataConfig"]
        base, key = f"{config['S3OutputPath'].rstrip('/')}/{self.name}/output", config.get("KmsKeyId", "")
        data, weights = sandbox.path("/opt/ml/output/data"), sandbox.path("/opt/ml/model")
        plain = config.get("CompressionType") == "NONE"
        if any(data.iterdir()):
            self._upload(data, f"{base}/data/" if plain else f"{base}/output.tar.gz", key, plain)
        if model:
            uri = f"{base}/model/" if plain else f"{base}/model.tar.gz"
            self._upload(weights, uri, key, plain)
            self.update(ModelArtifacts={"S3ModelArtifacts": uri})

    def _upload(self, folder: Path, uri: str, key: str, plain: bool) -> None:
        if plain:
            s3_channels.upload_tree(self.client, folder, uri, kms_key=key)
        else:
            s3_channels.upload_tar(self.client, folder, uri, self.work, kms_key=key)


def _failure_text(sandbox: Sandbox) -> str:
    file = sandbox.path("/opt/ml/output/failure")
    text = file.read_text(errors="replace").strip() if file.is_file() else ""
    return text[:900] or "See job logs for more information"


@operation("DescribeTrainingJob", "TrainingJobName")
def describe_training_job(request: dict[str, Any]) -> dict[str, Any]:
    with state.LOCK:
        return state.public(jobs.find_job("training-job", request["TrainingJobName"]))


@operation("StopTrainingJob", "TrainingJobName")
def stop_training_job(request: dict[str, Any]) -> dict[str, Any]:
    return jobs.stop_job("training-job", "Training", request)


@operation("ListTrainingJobs", f"{PAGE} {TIMES}")
def list_training_jobs(request: dict[str, Any]) -> dict[str, Any]:
    return state.listing(
        list(state.store("training-job").values()), request, answer="TrainingJobSummaries",
        summary=("TrainingJobName", "TrainingJobArn", "CreationTime", "TrainingEndTime", "LastModifiedTime",
                 "TrainingJobStatus", "SecondaryStatus"),
    )

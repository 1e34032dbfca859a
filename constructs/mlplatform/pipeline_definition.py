"""SageMaker pipeline definitions (JSON version 2020-12-01), typed, in milliseconds.

The SageMaker SDK builds the same JSON but takes seconds to import and wants credentials.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

VERSION = "2020-12-01"
MAX_CHARACTERS = 1_048_576
Json = dict[str, Any]

# Faults of the service and of capacity; a script's own error must not be paid for twice.
RETRY_POLICIES: tuple[Json, ...] = (
    {"ExceptionType": ["Step.SERVICE_FAULT", "Step.THROTTLING"], "IntervalSeconds": 5, "BackoffRate": 2.0,
     "MaxAttempts": 5},
    {"ExceptionType": ["SageMaker.JOB_INTERNAL_ERROR", "SageMaker.CAPACITY_ERROR", "SageMaker.RESOURCE_LIMIT"],
     "IntervalSeconds": 60, "BackoffRate": 2.0, "MaxAttempts": 3},
)


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """A string parameter. SageMaker allows 1,024 characters for its value."""

    name: str
    default: str | None = None

    def reference(self) -> Json:
        return {"Get": f"Parameters.{self.name}"}

    def to_json(self) -> Json:
        shape: Json = {"Name": self.name, "Type": "String"}
        return shape if self.default is None else {**shape, "DefaultValue": self.default}


def join(*parts: str | Json) -> Json:
    """Concatenation at run time."""
    return {"Std:Join": {"On": "", "Values": list(parts)}}


@dataclass(frozen=True, kw_only=True)
class Volume:
    """Where a job runs. `key_arn` is None for instances whose local disk SageMaker encrypts by itself."""

    instance_type: str
    instances: int
    gb: int
    key_arn: str | None

    def to_json(self) -> Json:
        shape: Json = {"InstanceType": self.instance_type, "InstanceCount": self.instances, "VolumeSizeInGB": self.gb}
        return {**shape, "VolumeKmsKeyId": self.key_arn} if self.key_arn else shape


@dataclass(frozen=True, kw_only=True)
class ProcessingStep:
    """A script in a container: S3 folders in at `inputs`, out at `outputs` (both name -> URI)."""

    name: str
    image: str
    role_arn: str
    module: str
    arguments: Sequence[str | Json]
    inputs: Mapping[str, str | Json]
    outputs: Mapping[str, str | Json]
    volume: Volume
    max_runtime_s: int
    key_arn: str
    vpc_config: Json
    environment: Mapping[str, str | Json] = field(default_factory=dict)
    depends_on: Sequence[str] = ()

    def to_json(self) -> Json:
        arguments: Json = {
            "AppSpecification": {"ImageUri": self.image, "ContainerEntrypoint": ["python", "-m", self.module],
                                 "ContainerArguments": list(self.arguments)},
            "RoleArn": self.role_arn,
            "ProcessingInputs": [
                {"InputName": name, "AppManaged": False, "S3Input": {
                    "S3Uri": uri, "LocalPath": input_path(name), "S3DataType": "S3Prefix", "S3InputMode": "File",
                    "S3DataDistributionType": "FullyReplicated", "S3CompressionType": "None"}}
                for name, uri in self.inputs.items()],
            "ProcessingOutputConfig": {"KmsKeyId": self.key_arn, "Outputs": [
                {"OutputName": name, "AppManaged": False, "S3Output": {
                    "S3Uri": uri, "LocalPath": output_path(name), "S3UploadMode": "EndOfJob"}}
                for name, uri in self.outputs.items()]},
            "ProcessingResources": {"ClusterConfig": self.volume.to_json()},
            "StoppingCondition": {"MaxRuntimeInSeconds": self.max_runtime_s},
            "NetworkConfig": {"EnableNetworkIsolation": True, "VpcConfig": self.vpc_config},
        }
        if self.environment:
            arguments["Environment"] = dict(self.environment)
        return _step(self.name, "Processing", arguments, self.depends_on)


@dataclass(frozen=True, kw_only=True)
class TrainingStep:
    """Script mode in a container of ours; the model stays a prefix, uncompressed."""

    name: str
    image: str
    role_arn: str
    module: str
    hyperparameters: Mapping[str, str | Json]
    channels: Mapping[str, str | Json]
    output: str | Json
    checkpoints: str | Json
    volume: Volume
    max_runtime_s: int
    key_arn: str
    vpc_config: Json
    depends_on: Sequence[str] = ()

    def to_json(self) -> Json:
        arguments: Json = {
            "AlgorithmSpecification": {"TrainingImage": self.image, "TrainingInputMode": "File",
                                       "ContainerEntrypoint": ["python", "-m", self.module]},
            "RoleArn": self.role_arn,
            "HyperParameters": dict(self.hyperparameters),
            "InputDataConfig": [
                {"ChannelName": name, "CompressionType": "None", "RecordWrapperType": "None", "DataSource": {
                    "S3DataSource": {"S3Uri": uri, "S3DataType": "S3Prefix",
                                     "S3DataDistributionType": "FullyReplicated"}}}
                for name, uri in self.channels.items()],
            "OutputDataConfig": {"S3OutputPath": self.output, "KmsKeyId": self.key_arn, "CompressionType": "NONE"},
            "CheckpointConfig": {"S3Uri": self.checkpoints},
            "ResourceConfig": self.volume.to_json(),
            "StoppingCondition": {"MaxRuntimeInSeconds": self.max_runtime_s},
            "EnableNetworkIsolation": True,
            "EnableInterContainerTrafficEncryption": self.volume.instances > 1,
            "VpcConfig": self.vpc_config,
        }
        return _step(self.name, "Training", arguments, self.depends_on)


def input_path(name: str) -> str:
    return f"/opt/ml/processing/input/{name}"


def output_path(name: str) -> str:
    return f"/opt/ml/processing/output/{name}"


def _step(name: str, type_: str, arguments: Json, depends_on: Sequence[str]) -> Json:
    step: Json = {"Name": name, "Type": type_, "Arguments": arguments, "RetryPolicies": list(RETRY_POLICIES)}
    return {**step, "DependsOn": list(depends_on)} if depends_on else step


@dataclass(frozen=True, kw_only=True)
class PipelineDefinition:
    parameters: Sequence[Parameter]
    steps: Sequence[ProcessingStep | TrainingStep]

    def to_json(self) -> str:
        body = {"Version": VERSION, "Metadata": {}, "Parameters": [p.to_json() for p in self.parameters],
                "Steps": [s.to_json() for s in self.steps]}
        text = json.dumps(body, separators=(",", ":"))
        if len(text) > MAX_CHARACTERS:
            raise ValueError(f"a pipeline definition has at most {MAX_CHARACTERS} characters, got {len(text)}")
        return text

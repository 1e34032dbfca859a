"""The processing jobs of labels, and the job that freezes them into data sets: Iceberg through Glue.

These jobs call Glue, so they are not isolated; with `full_private` they run in the VPC, through
interface endpoints.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aws_cdk import RemovalPolicy
from aws_cdk import aws_glue as glue
from aws_cdk import aws_kms as kms

from constructs import Construct
from contracts import metrics, naming
from contracts.story import StoryContract
from mlplatform import asl
from mlplatform.buckets import Buckets
from mlplatform.network import Network
from mlplatform.pipeline_definition import output_path
from mlplatform.policies import (
    ACCOUNT,
    Statement,
    allow,
    arn,
    arn_of,
    pass_role,
    put_metrics,
    read_prefixes,
    write_prefixes,
)
from mlplatform.sagemaker_roles import sagemaker_role

_INSTANCE, _VOLUME_GB, _MAX_RUNTIME_S = "ml.m5.large", 30, 3_600
# A job of that name is there already: a retry found it, and describing it is all that is left to do.
_EXISTS = ("SageMaker.ResourceInUseException", "SageMaker.ResourceInUse")


class LabelDatabase(Construct):
    """The Glue database; the jobs make its tables, whose schemas are theirs."""

    def __init__(self, scope: Construct, id_: str) -> None:
        super().__init__(scope, id_)
        self.resource = glue.CfnDatabase(
            self, "Default", catalog_id=ACCOUNT,
            database_input=glue.CfnDatabase.DatabaseInputProperty(
                name=naming.GLUE_DATABASE, description="Label records of all stories (Iceberg)"),
        )
        self.resource.apply_removal_policy(RemovalPolicy.RETAIN)


@dataclass(frozen=True, kw_only=True)
class LabelJobProps:
    image: str  # pinned by digest
    buckets: Buckets
    network: Network
    key: kms.IKey


def label_tables(*actions: str, tables: tuple[str, ...] = naming.LABEL_TABLES) -> Statement:
    return allow(*(f"glue:{a}" for a in actions), on=[
        arn("glue", "catalog"), arn("glue", f"database/{naming.GLUE_DATABASE}"),
        *(arn("glue", f"table/{naming.GLUE_DATABASE}/{name}") for name in tables),
    ])


class LabelJob(Construct):
    """A processing job's role, and its CreateProcessingJob requests but for names and arguments."""

    def __init__(self, scope: Construct, id_: str, *, props: LabelJobProps, description: str,
                 statements: list[Statement]) -> None:
        super().__init__(scope, id_)
        self._props = props
        self.role = sagemaker_role(
            self, "Role", description=description, statements=statements, log_group="ProcessingJobs",
            image_repository=naming.image_repository("training"), key_arn=arn_of(props.key),
            network=props.network if props.network.api_jobs_inside else None, encrypts_volume=True,
        )

    def _request(self, module: str, *, name_path: str, arguments: str, inputs: list[dict[str, Any]],
                 outputs: list[dict[str, Any]], environment: Mapping[str, str] | None = None) -> dict[str, Any]:
        network: dict[str, Any] = {"EnableNetworkIsolation": False}
        if self._props.network.api_jobs_inside:
            network["VpcConfig"] = {"SecurityGroupIds": ["${JobSecurityGroup}"],
                                    "Subnets": ["${JobSubnetA}", "${JobSubnetB}"]}
        return {
            "ProcessingJobName.$": name_path, "RoleArn": "${LabelJobRole}",
            "AppSpecification": {"ImageUri": "${TrainingImage}", "ContainerEntrypoint": ["python", "-m", module],
                                 "ContainerArguments.$": arguments},
            "Environment": {"GLUE_DATABASE": naming.GLUE_DATABASE,
                            "ICEBERG_WAREHOUSE": f"s3://${{LakeBucket}}/{naming.ICEBERG_PREFIX}",
                            **(environment or {})},
            "ProcessingInputs": inputs,
            "ProcessingOutputConfig": {"KmsKeyId": "${DataKey}", "Outputs": outputs},
            "ProcessingResources": {"ClusterConfig": {
                "InstanceCount": 1, "InstanceType": _INSTANCE, "VolumeSizeInGB": _VOLUME_GB,
                "VolumeKmsKeyId": "${DataKey}"}},
            "StoppingCondition": {"MaxRuntimeInSeconds": _MAX_RUNTIME_S},
            "NetworkConfig": network,
        }

    def substitutions(self) -> dict[str, str]:
        """Values of the request's `${...}`."""
        p = self._props
        values = {"LabelJobRole": self.role.role_arn, "TrainingImage": p.image, "DataKey": arn_of(p.key),
                  "LakeBucket": p.buckets.lake.bucket_name}
        if p.network.api_jobs_inside:
            first, second = p.network.subnet_ids
            values |= {"JobSecurityGroup": p.network.security_group_ids[0], "JobSubnetA": first, "JobSubnetB": second}
        return values

    def run_statements(self, job_names: str) -> list[Statement]:
        jobs = arn("sagemaker", f"processing-job/{job_names}")
        return [
            allow("sagemaker:CreateProcessingJob", "sagemaker:DescribeProcessingJob", "sagemaker:AddTags", on=jobs),
            pass_role([self.role.role_arn], to="sagemaker.amazonaws.com"),
        ]


def job_output(name: str, uri: str) -> dict[str, Any]:
    return {"OutputName": name, "S3Output": {"S3Uri.$": uri, "LocalPath": output_path(name),
                                             "S3UploadMode": "EndOfJob"}}


def start(request: dict[str, Any], *, next_: str) -> asl.State:
    """Start a job; when that fails in any way, describing it tells whether it runs."""
    return asl.call("sagemaker", "createProcessingJob", request, next_=next_, on_error=next_, result=None,
                    retry=asl.retries(permanent=(*asl.PERMANENT_ERRORS, *_EXISTS)))


def waited_for(name: str, job_name: str, *, result: str, next_: str, failed: str, on_error: str,
               poll_s: int) -> dict[str, asl.State]:
    """`Wait{name}`, `Describe{name}` and `{name}JobStatus`: round and round until the job of that name has ended.

    A completed one leads to `next_`, one that ended otherwise to `failed`; what DescribeProcessingJob says is `result`.
    """
    return {
        f"Wait{name}": asl.wait(poll_s, next_=f"Describe{name}"),
        f"Describe{name}": asl.call("sagemaker", "describeProcessingJob", {"ProcessingJobName.$": job_name},
                                    next_=f"{name}JobStatus", on_error=on_error, result=result),
        f"{name}JobStatus": asl.choose(
            asl.equals(f"{result}.ProcessingJobStatus", "Completed", next_),
            asl.equals(f"{result}.ProcessingJobStatus", "InProgress", f"Wait{name}"), default=failed),
    }


class FreezeJob(LabelJob):
    """label_records of one story at the current snapshot, joined with its features -> a frozen data set.

    `mangaassist audit point-in-time` runs its module under the same role: it reads a data set and the features again.
    """

    module = "model_code.platform.freeze_dataset"

    def __init__(self, scope: Construct, id_: str, *, story: StoryContract, props: LabelJobProps) -> None:
        lake, slug = props.buckets.lake.bucket_arn, story.slug
        datasets, last_good = naming.all_datasets_prefix(slug), naming.last_good_features_prefix(slug)
        features = arn("glue", f"table/{naming.FEATURE_DATABASE}/{naming.feature_tables(slug)}")
        super().__init__(
            scope, id_, props=props, description=f"{slug}: freezes label records into a data set",
            statements=[
                *read_prefixes(lake, naming.ICEBERG_PREFIX, naming.feature_store_prefix(slug), datasets, last_good),
                write_prefixes(lake, datasets, last_good),
                label_tables("GetDatabase", "GetTable", tables=(naming.LABEL_RECORDS,)),
                allow("glue:GetDatabase", "glue:GetTable", on=[
                    arn("glue", "catalog"), arn("glue", f"database/{naming.FEATURE_DATABASE}"), features]),
                allow("sagemaker:DescribeFeatureGroup", on=[
                    arn("sagemaker", f"feature-group/{group.resource_name}") for group in story.feature_groups]),
                put_metrics(metrics.NAMESPACE),
            ])

    def request(self) -> dict[str, Any]:
        """Reads `$.plan` of the retrain machine."""
        return self._request(
            "model_code.platform.freeze_dataset", name_path="$.plan.freeze_job_name",
            arguments=f"States.Array('--story', $.story, '--output', '{output_path('dataset')}', "
                      "'--label-version-above', $.plan.label_version_above)",
            inputs=[], outputs=[job_output("dataset", "$.plan.dataset_uri")],
        )

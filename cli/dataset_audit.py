"""Did a frozen data set see the future? A job inside the account looks: customers' data comes to no terminal.

It runs as the story's freeze job does, with that job's role, image and network, so nothing is deployed for it.
"""

from __future__ import annotations

import json
import secrets
import time
from dataclasses import dataclass
from typing import Any

from cli.errors import CliError
from cli.target import Target, find_story
from contracts import naming

MODULE = "model_code.platform.audit_features"
DATASET_INPUT = "/opt/ml/processing/input/dataset"
POLL_S, TIMEOUT_S = 0.5, 1_800.0
_OF_THE_FREEZE = ("RoleArn", "Environment", "NetworkConfig", "ProcessingResources", "StoppingCondition")


@dataclass(frozen=True, kw_only=True)
class DatasetAudited:
    """`violations`: reason -> rows. `examples`: {"id", "reason", "detail"} of the first ones."""

    dataset: str
    passed: bool
    rows: int
    sampled: int
    matched: int
    violations: dict[str, int]
    examples: tuple[dict[str, str], ...]


def audit_dataset(target: Target, dataset: str, *, sample: int) -> DatasetAudited:
    """`dataset` is STORY/RUN. CliError when there is no such data set, or the job could not look."""
    slug, _, run_id = dataset.partition("/")
    prefix = naming.dataset_prefix(find_story(slug).slug, run_id)
    bucket = target.bucket(naming.LAKE)
    listed = target.client("s3").list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=1)
    if not run_id or not listed.get("KeyCount"):
        raise CliError(f"there is no data set {dataset!r}; it is STORY/RUN, RUN being the name of the execution that "
                       f"froze it (`mangaassist status {slug}` lists the last ones)")
    sagemaker = target.client("sagemaker")
    name = f"{naming.PROJECT}-{slug}-audit-{secrets.token_hex(6)}"[:63]
    sagemaker.create_processing_job(
        ProcessingJobName=name, **_like_the_freeze(sagemaker, slug, sample=sample),
        ProcessingInputs=[{"InputName": "dataset", "S3Input": {
            "S3Uri": f"s3://{bucket}/{prefix}", "LocalPath": DATASET_INPUT, "S3DataType": "S3Prefix",
            "S3InputMode": "File"}}])
    done = _wait(sagemaker, name)
    if done["ProcessingJobStatus"] != "Completed":
        raise CliError(f"the audit job {name} ended as {done['ProcessingJobStatus']}: "
                       f"{done.get('FailureReason', 'no reason given')}; its log is in /aws/sagemaker/ProcessingJobs")
    answer = json.loads(done["ExitMessage"])
    return DatasetAudited(dataset=dataset, examples=tuple(answer.pop("examples")), **answer)


def _like_the_freeze(sagemaker: Any, slug: str, *, sample: int) -> dict[str, Any]:
    """The newest freeze job's request, for the audit's module."""
    found = sagemaker.list_processing_jobs(NameContains=naming.freeze_job(slug, ""), SortBy="CreationTime",
                                           SortOrder="Descending", MaxResults=1)["ProcessingJobSummaries"]
    if not found:
        raise CliError(f"{slug} has no freeze job any more whose role and image the audit could use; start a retrain")
    freeze = sagemaker.describe_processing_job(ProcessingJobName=found[0]["ProcessingJobName"])
    return {
        **{member: freeze[member] for member in _OF_THE_FREEZE if member in freeze},
        "AppSpecification": {
            "ImageUri": freeze["AppSpecification"]["ImageUri"], "ContainerEntrypoint": ["python", "-m", MODULE],
            "ContainerArguments": ["--story", slug, "--dataset", DATASET_INPUT, "--sample", str(sample)]}}


def _wait(sagemaker: Any, name: str) -> dict[str, Any]:
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline:
        found = dict(sagemaker.describe_processing_job(ProcessingJobName=name))
        if found["ProcessingJobStatus"] not in ("InProgress", "Stopping"):
            return found
        time.sleep(POLL_S)
    raise TimeoutError(f"the audit job {name} still runs after {TIMEOUT_S:.0f} s")

"""What roles are granted and nobody asked for: the list to shorten policies by, with the reasons to keep the rest."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache

from tests.support.iam_check import Answer
from tests.support.iam_policies import Policies, as_list


@dataclass(frozen=True, kw_only=True, order=True)
class Grant:
    role: str  # logical id without its hash
    action: str
    resources: tuple[str, ...]
    arn: str = ""

    def __str__(self) -> str:
        return f"{self.role}: {self.action} on {', '.join(r.split(':', 5)[-1] for r in self.resources)}"

    def covers(self, principal: str, action: str, resource: str) -> bool:
        return (principal == self.arn and _matches(self.action.lower(), action.lower())
                and any(_matches(pattern, resource) for pattern in self.resources))


# (roles, actions, why the grant stays although no run here uses it)
KEPT: tuple[tuple[str, str, str], ...] = (
    ("*", "s3:AbortMultipartUpload", "a job that dies in the middle of an upload takes its parts away"),
    ("*", "s3:ListBucket", "without it a missing object answers 403 instead of 404, and readers tell them apart"),
    ("TrainingRole", "kms:*", "which key actions Pipelines asks its own role for is not documented: try on AWS first"),
    ("*ImageBuildRole", "kms:*", "which key actions a build without artifacts asks for is not documented: try on AWS"),
    ("*", "kms:DescribeKey", "part of reading and writing under the data key, one statement for all (use_key)"),
    ("*", "kms:Encrypt", "part of reading and writing under the data key, one statement for all (use_key)"),
    ("*", "kms:Decrypt", "DynamoDB and S3 under the data key: the embedded AWS asks for S3's only"),
    ("*", "kms:GenerateDataKey", "DynamoDB and S3 under the data key: the embedded AWS asks for S3's only"),
    ("FunctionsRoomDriftMonitorRole", "s3:PutObject", "keeps the counts of an hour with requests: a demo that passes "
     "no full hour has none, tests/end_to_end/test_drift.py does"),
    ("FunctionsRoom*", "sagemaker:*ModelPackage*", "AWS's own example of a registry's policy names group and versions"),
    ("FunctionsRoomPublishRole", "kms:Verify", "only when the model was published before"),
    ("FunctionsRoomReleaseCheckRole", "dynamodb:PutItem", "keeps the copy of a spec that changed since the plan"),
    ("FunctionsRoomReleaseCheckRole", "iam:CreateServiceLinkedRole", "once per account, by Application Auto Scaling"),
    ("FunctionsRoomReleaseCheckRole", "cloudwatch:PutMetricAlarm", "Application Auto Scaling makes its alarms so"),
    ("FunctionsRoomReleasePlanRole", "cloudwatch:PutMetricData", "only when something falls back, as SSM is away"),
    ("*", "sagemaker:DeleteEndpoint", "only after a first endpoint that failed to come up"),
    ("FunctionsRoomImageBuilderRole", "lambda:InvokeFunction", "goes on in a new invocation when a build is slow"),
    ("FunctionsRoomLeaseRole", "dynamodb:GetItem", "only when the lease is somebody else's"),
    ("FunctionsRoomAuditCheckpointRole", "*", "signs the heads of the audit trail once an hour, on nobody's request"),
    ("FunctionsRoomLeaseRole", "states:DescribeExecution", "only when the lease is somebody else's"),
    ("FreezeGuard*", "*", "only when the global freeze is switched on"),
    ("Training*", "sagemaker:Stop*", "Pipelines stops the jobs of an execution that is stopped"),
    ("TrainingRole", "sagemaker:Describe*", "Pipelines watches its jobs; here they are one process with the service"),
    ("RetrainMachineRole", "sagemaker:StopPipelineExecution", "only when a run is stopped or times out"),
    ("RetrainMachineRole", "states:StopExecution", "Step Functions stops the child of a run that is stopped"),
    ("ReleaseMachineRole", "cloudwatch:PutMetricData", "only when a canary is aborted"),
    ("*MachineRole", "sagemaker:UpdateModelPackage", "only when a candidate was worse in live traffic"),
    ("ReleaseMachineRole", "sagemaker:DescribeEndpoint", "only after a first endpoint that failed to come up"),
    ("*MachineRole", "sns:Publish", "only when a run fails"),
    ("*MachineRole", "sagemaker:AddTags", "needed as soon as a request carries tags"),
    ("CustomerCohortFeaturesRole", "glue:*", "on AWS Feature Store makes the table of its offline store"),
    ("CustomerCohortFeaturesRole", "s3:DeleteObject", "Feature Store rewrites the files of its Iceberg table"),
    ("LabelExpiry*", "*", "the weekly expiry of label snapshots is not a scene of the demo"),
    ("FeatureJoin*", "*", "a join on Spark is not a scene of the demo"),
    ("LabelIngestJobRole", "s3:DeleteObject", "Iceberg removes the metadata of a commit that lost its race"),
    ("LabelIngestJobRole", "glue:*", "the catalog's tables are made and changed once, not by every batch"),
    ("FreezeRole", "glue:GetDatabase", "the Glue catalog of pyiceberg looks for the database when a table is missing"),
    ("*ImageBuildRole", "s3:GetObjectVersion", "CodeBuild fetches a build context that has a version so"),
)


def grants(policies: Policies) -> list[Grant]:
    """One per action of each Allow statement of each role."""
    return sorted({
        Grant(role=role.id, action=action, resources=tuple(as_list(statement["Resource"])), arn=role.arn)
        for role in policies.roles.values() for document in role.policies.values()
        for statement in document["Statement"] if statement["Effect"] == "Allow"
        for action in as_list(statement["Action"])})


def unused(policies: Policies, answers: Iterable[Answer]) -> list[Grant]:
    """Granted, and neither recorded nor implied."""
    asked = {(a.call.principal, a.call.action, a.call.resource) for a in answers if a.allowed}
    by_role: dict[str, list[tuple[str, str, str]]] = {}
    for call in asked:
        by_role.setdefault(call[0], []).append(call)
    return [g for g in grants(policies) if not any(g.covers(*call) for call in by_role.get(g.arn, []))]


def reason(grant: Grant) -> str | None:
    """Why an unused grant stays; None when the table has no row for it."""
    return next((why for roles, actions, why in KEPT
                 if fnmatchcase(grant.role, roles) and fnmatchcase(grant.action, actions)), None)


@cache
def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(re.escape(text).replace(r"\*", ".*").replace(r"\?", "."))


def _matches(pattern: str, value: str) -> bool:
    return _pattern(pattern).fullmatch(value) is not None

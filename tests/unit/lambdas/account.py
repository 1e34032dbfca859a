"""Names, values and answers that the tests of the functions share."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from contracts import naming
from contracts.audit_table import partition_query
from contracts.serving import CanaryPolicy, ServingSpec
from lambdas.shared.dynamo import control_key, read_control, to_item

STORY = "intent-classifier"
REGION = "ap-northeast-1"
ACCOUNT = "123456789012"
ARTIFACTS, LAKE, CAPTURE = "artifacts", "lake", "capture"
HOME_ARTIFACTS = "home-artifacts"  # in the same region: moto has one KMS and one S3 for all of them
CONTROL, AUDIT = "control", "audit"
IMAGE = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/mangaassist/serving@sha256:{'a' * 64}"
GROUP_ARN = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:model-package-group/{naming.model_package_group(STORY)}"


@dataclass
class Account:
    """What a test reaches for; the functions themselves make their own clients."""

    dynamodb: Any
    s3: Any
    ssm: Any
    kms: Any
    key_arn: str

    def put_control(self, item: str, **values: Any) -> None:
        self.dynamodb.put_item(TableName=CONTROL, Item={**control_key(STORY, item), **to_item(values)})

    def control(self, item: str) -> dict[str, Any] | None:
        return read_control(self.dynamodb, CONTROL, STORY, item)

    def audit_ids(self) -> list[str]:
        return sorted(i["id"]["S"] for i in self.audit_records())

    def audit_records(self, story: str = STORY) -> list[dict[str, Any]]:
        """Records as DynamoDB has them, without the links of the chain."""
        return list(self.dynamodb.query(**partition_query(AUDIT, story))["Items"])

    def put_object(self, bucket: str, key: str, body: bytes) -> None:
        self.s3.put_object(Bucket=bucket, Key=key, Body=body)

    def set_flag(self, name: str, value: str) -> None:
        self.ssm.put_parameter(Name=naming.flag_parameter(name), Value=value, Type="String", Overwrite=True)


def serving_spec(**changes: Any) -> ServingSpec:
    values: dict[str, Any] = {
        "story": STORY, "instance_type": "ml.g5.xlarge", "min_instances": 2, "max_instances": 12,
        "invocations_per_instance": 6000, "image": IMAGE, "role_arn": f"arn:aws:iam::{ACCOUNT}:role/serving-role",
        "kms_key": "key-1", "subnets": ("subnet-1", "subnet-2"), "security_groups": ("sg-1",),
        "guardrail_alarms": ("latency", "errors", "abort"),
        "canary": CanaryPolicy(percent=10, bake_s=600, termination_wait_s=3600),
    }
    return ServingSpec(**values | changes)


def endpoint_answer(status: str, config: str, *, pending: str = "", reason: str = "") -> dict[str, Any]:
    """DescribeEndpoint's answer."""
    moment = datetime(2026, 11, 1, tzinfo=UTC)
    answer: dict[str, Any] = {
        "EndpointName": naming.endpoint(STORY), "EndpointConfigName": config, "EndpointStatus": status,
        "EndpointArn": f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:endpoint/{naming.endpoint(STORY)}",
        "CreationTime": moment, "LastModifiedTime": moment,
    }
    if pending:
        answer["PendingDeploymentSummary"] = {"EndpointConfigName": pending}
    if reason:
        answer["FailureReason"] = reason
    return answer

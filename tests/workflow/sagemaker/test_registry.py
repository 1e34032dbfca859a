"""The model registry: versions, approval, properties and events."""

from __future__ import annotations

import json
import uuid

import pytest
from botocore.exceptions import ClientError

from tests.workflow.sagemaker.conftest import image_uri, wait_for

SPEC = {
    "Containers": [{"Image": image_uri("toy", "v1"), "ModelDataUrl": "s3://sagemaker-tests/weights/one/model.json"}],
    "SupportedContentTypes": ["text/plain"], "SupportedResponseMIMETypes": ["application/json"],
}


def register(sagemaker, group: str, spec: dict | None = None) -> str:
    answer = sagemaker.create_model_package(ModelPackageGroupName=group, InferenceSpecification=spec or SPEC)
    return str(answer["ModelPackageArn"])


@pytest.fixture
def group(aws) -> str:
    name = f"group-{uuid.uuid4().hex[:8]}"
    aws.client("sagemaker").create_model_package_group(ModelPackageGroupName=name)
    return name


@pytest.mark.surface("sagemaker:CreateModelPackageGroup", "sagemaker:CreateModelPackage", "sagemaker:ListModelPackages")
def test_versions_count_up_and_a_token_gives_the_same_version(aws, group) -> None:
    sagemaker = aws.client("sagemaker")
    metrics = {"ModelQuality": {"Statistics": {"ContentType": "application/json", "S3Uri": "s3://b/evaluation.json"}}}

    def register(token: str) -> str:
        return str(sagemaker.create_model_package(
            ModelPackageGroupName=group, InferenceSpecification=SPEC, ClientToken=token, ModelMetrics=metrics,
            CustomerMetadataProperties={"manifest": "abc"},
        )["ModelPackageArn"])

    first, again, second = register("token-1"), register("token-1"), register("token-2")
    assert first == again
    assert second.endswith(f"model-package/{group}/2")
    listed = sagemaker.list_model_packages(ModelPackageGroupName=group)["ModelPackageSummaryList"]
    assert [p["ModelPackageVersion"] for p in listed] == [2, 1]
    described = sagemaker.describe_model_package(ModelPackageName=first)
    assert described["ModelApprovalStatus"] == "PendingManualApproval"
    assert (described["ModelMetrics"], described["CustomerMetadataProperties"]) == (metrics, {"manifest": "abc"})


@pytest.mark.surface("sagemaker:UpdateModelPackage")
def test_an_approval_is_kept_and_told(aws, group) -> None:
    sagemaker, sqs, events = aws.client("sagemaker"), aws.client("sqs"), aws.client("events")
    url = sqs.create_queue(QueueName="packages")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    pattern = {"detail-type": ["SageMaker Model Package State Change"],
               "detail": {"ModelPackageGroupName": [group], "ModelApprovalStatus": ["Approved"]}}
    events.put_rule(Name="approved", EventPattern=json.dumps(pattern))
    events.put_targets(Rule="approved", Targets=[{"Id": "q", "Arn": arn}])
    package = register(sagemaker, group)
    sagemaker.update_model_package(
        ModelPackageArn=package, ModelApprovalStatus="Approved", ApprovalDescription="all gates passed",
        CustomerMetadataProperties={"by": "test"},
    )
    described = sagemaker.describe_model_package(ModelPackageName=package)
    assert (described["ModelApprovalStatus"], described["ApprovalDescription"]) == ("Approved", "all gates passed")
    approved = sagemaker.list_model_packages(ModelPackageGroupName=group, ModelApprovalStatus="Approved")
    assert len(approved["ModelPackageSummaryList"]) == 1
    detail = json.loads(wait_for(lambda: sqs.receive_message(QueueUrl=url).get("Messages"), bool)[0]["Body"])["detail"]
    assert detail["ModelPackageArn"] == package
    assert "ModelApprovalStatus" in detail["UpdatedModelPackageFields"]


def test_a_group_with_packages_is_not_deleted_and_an_empty_one_is(aws, group) -> None:
    sagemaker = aws.client("sagemaker")
    package = register(sagemaker, group)
    with pytest.raises(ClientError, match="still has model packages"):
        sagemaker.delete_model_package_group(ModelPackageGroupName=group)
    sagemaker.delete_model_package(ModelPackageName=package)
    sagemaker.delete_model_package_group(ModelPackageGroupName=group)
    with pytest.raises(ClientError, match="does not exist"):
        sagemaker.describe_model_package_group(ModelPackageGroupName=group)


def test_a_model_made_from_a_package_serves(aws, group, image, role, bucket) -> None:
    sagemaker, s3 = aws.client("sagemaker"), aws.client("s3")
    s3.put_object(Bucket=bucket, Key="weights/packaged/model.json", Body=b'{"words": 3}')
    data = {"S3Uri": f"s3://{bucket}/weights/packaged/", "S3DataType": "S3Prefix", "CompressionType": "None"}
    spec = {**SPEC, "Containers": [{"Image": image, "ModelDataSource": {"S3DataSource": data}}]}
    package = register(sagemaker, group, spec)
    sagemaker.create_model(ModelName=group, ExecutionRoleArn=role, PrimaryContainer={"ModelPackageName": package})
    variant = {"VariantName": "all", "ModelName": group, "InitialInstanceCount": 1, "InstanceType": "ml.m5.large"}
    sagemaker.create_endpoint_config(EndpointConfigName=group, ProductionVariants=[variant])
    sagemaker.create_endpoint(EndpointName=group, EndpointConfigName=group)
    wait_for(lambda: sagemaker.describe_endpoint(EndpointName=group)["EndpointStatus"], lambda s: s == "InService")
    answer = aws.client("sagemaker-runtime").invoke_endpoint(EndpointName=group, Body=b"x")["Body"].read()
    assert json.loads(answer)["words"] == 3
    sagemaker.delete_endpoint(EndpointName=group)

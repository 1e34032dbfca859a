"""CloudFormation makes, changes and replaces SageMaker resources as AWS does."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.workflow.sagemaker.conftest import allow, wait_for


class Stack:
    def __init__(self, aws) -> None:
        self.cloudformation, self.name = aws.client("cloudformation"), f"stack-{uuid.uuid4().hex[:8]}"

    def put(self, resources: dict[str, Any], outputs: dict[str, Any] | None = None) -> dict[str, str]:
        """Create or update; the outputs. A failure raises with the events' reasons."""
        template = json.dumps({"Resources": resources, "Outputs": outputs or {}})
        exists = any(s["StackName"] == self.name for s in self.cloudformation.describe_stacks()["Stacks"])
        act = self.cloudformation.update_stack if exists else self.cloudformation.create_stack
        act(StackName=self.name, TemplateBody=template)
        stack = wait_for(
            lambda: self.cloudformation.describe_stacks(StackName=self.name)["Stacks"][0],
            lambda s: not s["StackStatus"].endswith("IN_PROGRESS"),
        )
        if stack["StackStatus"] not in ("CREATE_COMPLETE", "UPDATE_COMPLETE"):
            events = self.cloudformation.describe_stack_events(StackName=self.name)["StackEvents"]
            reasons = [e.get("ResourceStatusReason", "") for e in events if e["ResourceStatus"].endswith("FAILED")]
            raise RuntimeError("; ".join(reasons))
        return {o["OutputKey"]: o["OutputValue"] for o in stack.get("Outputs", [])}

    def physical(self, logical_id: str) -> str:
        found = self.cloudformation.describe_stack_resource(StackName=self.name, LogicalResourceId=logical_id)
        return str(found["StackResourceDetail"]["PhysicalResourceId"])


@pytest.fixture
def stack(aws) -> Stack:
    return Stack(aws)


def serving(image: str, role: str, tag: str) -> dict[str, Any]:
    return {
        "Model": {"Type": "AWS::SageMaker::Model", "Properties": {
            "ExecutionRoleArn": role, "PrimaryContainer": {"Image": image, "Environment": {"TAG": tag}}}},
        "Config": {"Type": "AWS::SageMaker::EndpointConfig", "Properties": {"ProductionVariants": [{
            "VariantName": "all", "ModelName": {"Fn::GetAtt": ["Model", "ModelName"]}, "InitialInstanceCount": "1",
            "InstanceType": "ml.m5.large", "InitialVariantWeight": "1.0"}]}},
        "Endpoint": {"Type": "AWS::SageMaker::Endpoint", "Properties": {
            "EndpointConfigName": {"Fn::GetAtt": ["Config", "EndpointConfigName"]}}},
    }


@pytest.mark.surface("AWS::SageMaker::Model", "AWS::SageMaker::EndpointConfig", "AWS::SageMaker::Endpoint")
def test_a_changed_model_is_replaced_and_the_endpoint_updated_in_place(aws, stack, image, role) -> None:
    outputs = {"Name": {"Value": {"Fn::GetAtt": ["Endpoint", "EndpointName"]}}}
    name = stack.put(serving(image, role, "one"), outputs)["Name"]
    model, endpoint = stack.physical("Model"), stack.physical("Endpoint")
    runtime = aws.client("sagemaker-runtime")
    assert json.loads(runtime.invoke_endpoint(EndpointName=name, Body=b"x")["Body"].read())["tag"] == "one"
    stack.put(serving(image, role, "two"), outputs)
    assert json.loads(runtime.invoke_endpoint(EndpointName=name, Body=b"x")["Body"].read())["tag"] == "two"
    assert stack.physical("Endpoint") == endpoint
    assert stack.physical("Model") != model
    models = [m["ModelArn"] for m in aws.client("sagemaker").list_models()["Models"]]
    assert model not in models
    stack.cloudformation.delete_stack(StackName=stack.name)
    with pytest.raises(ClientError, match="not found"):
        wait_for(lambda: runtime.invoke_endpoint(EndpointName=name, Body=b"x"), lambda _: False)


def test_an_endpoint_that_does_not_start_fails_the_stack(stack, image, role) -> None:
    resources = serving(image, role, "bad")
    resources["Model"]["Properties"]["PrimaryContainer"]["Environment"]["BEHAVIOUR"] = "crash"
    with pytest.raises(RuntimeError, match="ping health check"):
        stack.put(resources)


@pytest.mark.surface("AWS::SageMaker::Pipeline")
def test_a_pipeline_changes_in_place(aws, stack, role) -> None:
    def template(message: str) -> dict[str, Any]:
        steps = [{"Name": "A", "Type": "Fail", "Arguments": {"ErrorMessage": message}}]
        body = json.dumps({"Version": "2020-12-01", "Steps": steps})
        return {"Pipeline": {"Type": "AWS::SageMaker::Pipeline", "Properties": {
            "PipelineName": stack.name, "RoleArn": role, "PipelineDefinition": {"PipelineDefinitionBody": body},
            "ParallelismConfiguration": {"MaxParallelExecutionSteps": "2"}}}}

    stack.put(template("first"))
    created = aws.client("sagemaker").describe_pipeline(PipelineName=stack.name)
    stack.put(template("second"))
    changed = aws.client("sagemaker").describe_pipeline(PipelineName=stack.name)
    assert "second" in changed["PipelineDefinition"]
    assert changed["CreationTime"] == created["CreationTime"]
    assert changed["ParallelismConfiguration"] == {"MaxParallelExecutionSteps": 2}


def test_a_wrong_pipeline_definition_fails_the_stack_with_its_reason(stack, role) -> None:
    properties = {"PipelineName": stack.name, "RoleArn": role,
                  "PipelineDefinition": {"PipelineDefinitionBody": '{"Version": "2020-12-01", "Steps": []}'}}
    with pytest.raises(RuntimeError, match="at least one step"):
        stack.put({"Pipeline": {"Type": "AWS::SageMaker::Pipeline", "Properties": properties}})


@pytest.mark.surface("AWS::SageMaker::ModelPackageGroup")
def test_a_model_package_group_keeps_its_versions_over_an_update(aws, stack) -> None:
    def template(value: str) -> dict[str, Any]:
        return {"Group": {"Type": "AWS::SageMaker::ModelPackageGroup", "Properties": {
            "ModelPackageGroupName": stack.name, "Tags": [{"Key": "team", "Value": value}]}}}

    sagemaker = aws.client("sagemaker")
    arn = stack.put(template("a"), {"Arn": {"Value": {"Ref": "Group"}}})["Arn"]
    spec = {"Containers": [{"Image": "x"}], "SupportedContentTypes": ["a/b"], "SupportedResponseMIMETypes": ["a/b"]}
    sagemaker.create_model_package(ModelPackageGroupName=stack.name, InferenceSpecification=spec)
    stack.put(template("b"))
    assert len(sagemaker.list_model_packages(ModelPackageGroupName=stack.name)["ModelPackageSummaryList"]) == 1
    tags = {t["Key"]: t["Value"] for t in sagemaker.list_tags(ResourceArn=arn)["Tags"]}
    assert tags["team"] == "b"


@pytest.mark.surface("AWS::SageMaker::FeatureGroup")
def test_a_feature_group_grows_and_never_shrinks(aws, stack, bucket, role) -> None:
    def template(*features: str, description: str = "d") -> dict[str, Any]:
        definitions = [{"FeatureName": f, "FeatureType": "String"} for f in ("id", "at", *features)]
        return {"Features": {"Type": "AWS::SageMaker::FeatureGroup", "Properties": {
            "FeatureGroupName": stack.name, "RecordIdentifierFeatureName": "id", "EventTimeFeatureName": "at",
            "FeatureDefinitions": definitions, "OnlineStoreConfig": {"EnableOnlineStore": "true"}, "RoleArn": role,
            "OfflineStoreConfig": {"S3StorageConfig": {"S3Uri": f"s3://{bucket}/f"}}, "Description": description}}}

    stack.put(template("a"))
    stack.put(template("a", "b"))
    described = aws.client("sagemaker").describe_feature_group(FeatureGroupName=stack.name)
    assert [d["FeatureName"] for d in described["FeatureDefinitions"]] == ["id", "at", "a", "b"]
    with pytest.raises(RuntimeError, match="features can only be added"):
        stack.put(template("b"))
    with pytest.raises(RuntimeError, match="custom-named resource requires replacing"):
        stack.put(template("a", "b", description="other"))


def test_an_unsupported_property_fails_the_stack(stack, image, role) -> None:
    resources = serving(image, role, "x")
    resources["Config"]["Properties"]["DataCaptureConfig"] = {
        "CaptureOptions": [{"CaptureMode": "Input"}], "DestinationS3Uri": "s3://b", "InitialSamplingPercentage": 1
    }
    with pytest.raises(RuntimeError, match="DataCaptureConfig is not supported"):
        stack.put(resources)


@pytest.mark.surface("application-autoscaling:RegisterScalableTarget", "application-autoscaling:PutScalingPolicy")
def test_scalable_targets_and_policies_are_kept(aws, stack, image, role) -> None:
    outputs = {"Name": {"Value": {"Fn::GetAtt": ["Endpoint", "EndpointName"]}}}
    name = stack.put(serving(image, role, "x"), outputs)["Name"]
    scaling = aws.client("application-autoscaling")
    target = {"ServiceNamespace": "sagemaker", "ResourceId": f"endpoint/{name}/variant/all",
              "ScalableDimension": "sagemaker:variant:DesiredInstanceCount"}
    scaling.register_scalable_target(**target, MinCapacity=1, MaxCapacity=4)
    scaling.put_scaling_policy(
        **target, PolicyName="busy", PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration={"TargetValue": 70.0, "PredefinedMetricSpecification": {
            "PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"}},
    )
    found = scaling.describe_scalable_targets(ServiceNamespace="sagemaker", ResourceIds=[target["ResourceId"]])
    assert [(t["MinCapacity"], t["MaxCapacity"]) for t in found["ScalableTargets"]] == [(1, 4)]
    policies = scaling.describe_scaling_policies(ServiceNamespace="sagemaker", ResourceId=target["ResourceId"])
    assert [p["PolicyName"] for p in policies["ScalingPolicies"]] == ["busy"]
    absent = {**target, "ResourceId": "endpoint/none/variant/x"}
    with pytest.raises(ClientError, match="no variant of an endpoint in service"):
        scaling.register_scalable_target(**absent, MinCapacity=1, MaxCapacity=2)
    poor = aws.as_role("application-autoscaling", aws.role([allow("sagemaker:*")]))
    with pytest.raises(ClientError, match="AccessDenied"):
        poor.deregister_scalable_target(**target)
    scaling.deregister_scalable_target(**target)
    left = scaling.describe_scaling_policies(ServiceNamespace="sagemaker", ResourceId=target["ResourceId"])
    assert not left["ScalingPolicies"]

"""Everything that stores is under the deployment's own key, also what is only made at run time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.infrastructure.rule_cases import KEY, KEY_ARN, Body, Case, check, machine, task

_SIGNING: Body = {"Type": "AWS::KMS::Key", "Properties": {"KeyPolicy": {}, "KeyUsage": "SIGN_VERIFY"}}
_ALIAS: Body = {"Type": "AWS::KMS::Alias", "Properties": {"AliasName": "alias/data", "TargetKeyId": KEY_ARN}}


def _bucket(**by_default: Any) -> Body:
    return {"Type": "AWS::S3::Bucket", "Properties": {"BucketEncryption": {
        "ServerSideEncryptionConfiguration": [{"ServerSideEncryptionByDefault": by_default}]}}}


def _resource(type_: str, **properties: Any) -> Body:
    return {"Type": type_, "Properties": properties}


def _group(*, online: Any, offline: Any) -> Body:
    return _resource("AWS::SageMaker::FeatureGroup", OnlineStoreConfig={"SecurityConfig": online},
                     OfflineStoreConfig={"S3StorageConfig": offline})


def _spark(logs: Any) -> Body:
    return _resource("AWS::EMRServerless::Application", MonitoringConfiguration={"S3MonitoringConfiguration": logs})


def _processing(instance: str, **keys: Any) -> Body:
    request = {"ProcessingOutputConfig": {"KmsKeyId": keys.get("output", "${DataKey}")},
               "ProcessingResources": {"ClusterConfig": {"InstanceType": instance, **keys.get("volume", {})}}}
    return machine(substitutions={"DataKey": KEY_ARN}, states={
        "Start": task("arn:aws:states:::aws-sdk:sagemaker:createProcessingJob", Parameters=request)})


def _training(key: str) -> Body:
    """The body is joined as CDK joins it: the key's ARN stands between pieces of JSON."""
    before = '{"Steps":[{"Name":"Train","Type":"Training","Arguments":{"OutputDataConfig":{"KmsKeyId":"'
    after = '"},"ResourceConfig":{"InstanceType":"ml.g5.xlarge"}}}]}'
    return _resource("AWS::SageMaker::Pipeline", PipelineDefinition={"PipelineDefinitionBody": {"Fn::Join": [
        "", [before, {"Fn::GetAtt": [key, "Arn"]}, after]]}})


def _serving(instance: str, key: str) -> Body:
    spec = json.dumps({"story": "intent-classifier", "instance_type": instance, "kms_key": "KEY"}).split("KEY")
    return _resource("AWS::SSM::Parameter", Name="/mangaassist/serving-spec/intent-classifier", Value={
        "Fn::Join": ["", [spec[0], {"Fn::GetAtt": [key, "Arn"]}, spec[1]]]})


def _release(**parameters: str) -> Body:
    return machine("mangaassist-intent-classifier-release", states={"CreateEndpointConfig": task(
        "arn:aws:states:::aws-sdk:sagemaker:createEndpointConfig", Parameters=parameters)})


_VOLUME = {"VolumeKmsKeyId": "${DataKey}"}

CASES = (
    Case(rule="EncryptedWithOwnKey",
         passes={"Key": KEY, "Alias": _ALIAS, "Bucket": _bucket(SSEAlgorithm="aws:kms", KMSMasterKeyID=KEY_ARN),
                 "Queue": _resource("AWS::SQS::Queue", KmsMasterKeyId={"Ref": "Alias"}),
                 "Topic": _resource("AWS::SNS::Topic", KmsMasterKeyId={"Ref": "Key"}),
                 "Logs": _resource("AWS::Logs::LogGroup", KmsKeyId=KEY_ARN),
                 "Features": _group(online={"KmsKeyId": KEY_ARN}, offline={"KmsKeyId": KEY_ARN}),
                 "Spark": _spark({"LogUri": "s3://logs/", "EncryptionKeyArn": KEY_ARN}), "Silent": _spark({}),
                 "Function": _resource("AWS::Lambda::Function", Handler="no.environment")},
         breaks={
             "S3MonitoringConfiguration": {"Spark": _spark({"LogUri": "s3://logs/"})},
             "is none": {"Bucket": _bucket(SSEAlgorithm="AES256")},
             "is alias/aws/sns": {"Topic": _resource("AWS::SNS::Topic", KmsMasterKeyId="alias/aws/sns")},
             "Queue.*KmsMasterKeyId: .*is none": {"Queue": _resource("AWS::SQS::Queue", SqsManagedSseEnabled=True)},
             "SSESpecification": {"Table": _resource("AWS::DynamoDB::Table", SSESpecification={"SSEEnabled": True})},
             "Logs.*is none": {"Logs": _resource("AWS::Logs::LogGroup")},
             "is <Key.Arn>": {"Key": _SIGNING, "Logs": _resource("AWS::Logs::LogGroup", KmsKeyId=KEY_ARN)},
             "OfflineStoreConfig": {"Key": KEY, "Features": _group(online={"KmsKeyId": KEY_ARN}, offline={})},
             "OnlineStoreConfig": {"Key": KEY, "Features": _group(online={}, offline={"KmsKeyId": KEY_ARN})},
             "AWSKMSKeyARN": {"Stream": _resource("AWS::KinesisFirehose::DeliveryStream")},
             "KmsKeyArn": {"Function": _resource("AWS::Lambda::Function", Environment={"Variables": {"A": "b"}})},
         }),
    Case(rule="JobsEncryptWithOwnKey",
         passes={"Key": KEY, "Machine": _processing("ml.m5.large", volume=_VOLUME), "Pipeline": _training("Key"),
                 "Local": _processing("ml.g5.xlarge"), "Spec": _serving("ml.m5.large", "Key"),
                 "Release": _release(**{"KmsKeyId.$": "$.plan.endpoint_config.KmsKeyId"})},
         breaks={
             "VolumeKmsKeyId: .*is none": {"Key": KEY, "Machine": _processing("ml.m5.large")},
             "ProcessingOutputConfig.KmsKeyId": {
                 "Key": KEY, "Machine": _processing("ml.g5.xlarge", output="alias/aws/s3")},
             "OutputDataConfig.KmsKeyId: .*is <Other.Arn>": {"Other": _SIGNING, "Pipeline": _training("Other")},
             "kms_key": {"Other": _SIGNING, "Spec": _serving("ml.g5.xlarge", "Other")},
             "though ml.m5.large takes one": {
                 "Key": KEY, "Spec": _serving("ml.m5.large", "Key"), "Release": _release()},
             r"Properties\.KmsKeyId: .*is none": {"Config": _resource(
                 "AWS::SageMaker::EndpointConfig", ProductionVariants=[{"InstanceType": "ml.m5.large"}])},
         }),
)


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.rule)
def test_the_rule_lets_pass_and_breaks(case: Case, tmp_path: Path) -> None:
    check(case, tmp_path)

"""Residency: what a deployment holds stays in its region, by every way out that we know of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from contracts.deployments import US
from tests.infrastructure.rule_cases import Body, Case, check, machine, policy, role, task

_ACCOUNT = {"Ref": "AWS::AccountId"}


def _allow(*actions: str, on: Any, **more: Any) -> Body:
    return {"Effect": "Allow", "Action": list(actions), "Resource": on, **more}


def _joined(*parts: Any) -> Body:
    return {"Fn::Join": ["", list(parts)]}


def _bucket(name: Any, **more: Any) -> Body:
    return {"Type": "AWS::S3::Bucket", "Properties": {"BucketName": name, **more}}


def _dashboard(region: str) -> Body:
    body = {"widgets": [{"type": "metric", "properties": {"title": "drift", "region": region, "metrics": []}}]}
    return {"Type": "AWS::CloudWatch::Dashboard", "Properties": {"DashboardBody": json.dumps(body)}}


def _stream(destination: str, **more: Any) -> Body:
    return {"Type": "AWS::KinesisFirehose::DeliveryStream", "Properties": {destination: more}}


def _function(**environment: Any) -> Body:
    return {"Type": "AWS::Lambda::Function", "Properties": {"Environment": {"Variables": environment}}}


def _rule(target: Any) -> Body:
    return {"Type": "AWS::Events::Rule", "Properties": {"EventPattern": {"source": ["aws.ssm"]},
                                                        "Targets": [{"Id": "Target", "Arn": target}]}}


def _subscription(protocol: str, **more: Any) -> Body:
    return {"Type": "AWS::SNS::Subscription",
            "Properties": {"Protocol": protocol, "TopicArn": {"Ref": "AWS::StackId"}, **more}}


_HOME_MODELS = _joined("arn:aws:s3:::mangaassist-artifacts-jp-", _ACCOUNT, "/models/intent-classifier/*")
_HOME_RUNS = _joined("arn:aws:s3:::mangaassist-artifacts-jp-", _ACCOUNT, "/runs/*")
_HOME_KEYS = _joined("arn:aws:kms:ap-northeast-1:", _ACCOUNT, ":key/*")
_THROUGH_S3 = {"StringEquals": {"kms:ViaService": "s3.ap-northeast-1.amazonaws.com"}}
_HERE = {"Fn::Sub": "arn:${AWS::Partition}:sqs:${AWS::Region}:${AWS::AccountId}:queue"}
_SERVICE = {"Service": "events.amazonaws.com"}

CASES = (
    Case(rule="ResidencyOwnRegion",
         passes={"Role": role(_allow("sqs:SendMessage", on=[_HERE])), "Rule": _rule(_HERE),
                 "Function": _function(REGION="ap-northeast-1", ZONE="ap-northeast-1a")},
         breaks={
             "names us-east-1": {"Rule": _rule("arn:aws:sqs:us-east-1:1:queue")},
             "names eu-west-1": {"Role": role(_allow("sns:Publish", on=_joined("arn:aws:sns:eu-west-1:", _ACCOUNT)))},
             "KMSMasterKeyId: names us-west-2": {"Table": {"Type": "AWS::DynamoDB::Table", "Properties": {
                 "SSESpecification": {"KMSMasterKeyId": "arn:aws:kms:us-west-2:1:key/a"}}}},
             "QUEUE: names us-east-1": {"Function": _function(QUEUE="https://sqs.us-east-1.amazonaws.com/1/q")},
             "BucketARN: names eu-west-1": {"Stream": _stream("ExtendedS3DestinationConfiguration",
                                                              BucketARN="arn:aws:s3:eu-west-1:1:accesspoint/a")},
             # Home gives nothing away, not even what a receiver may pull.
             "names ap-southeast-2": {"Role": role(_allow("kms:Verify", on="arn:aws:kms:ap-southeast-2:1:key/a"))},
         }),
    Case(rule="ResidencyOwnRegion", deployment=US,
         passes={"Role": role(_allow("kms:Verify", "kms:GetPublicKey", on=_HOME_KEYS),
                              _allow("kms:Decrypt", on=_HOME_KEYS, Condition=_THROUGH_S3)),
                 "Function": _function(HOME_REGION="ap-northeast-1")},
         breaks={
             "names ap-northeast-1": {"Role": role(_allow("kms:Decrypt", on=_HOME_KEYS))},  # anything, not just S3's
             "Statement.0.*names ap-northeast-1": {"Role": role(_allow("kms:Verify", "kms:Sign", on=_HOME_KEYS))},
             "QUEUE: names ap-northeast-1": {"Function": _function(QUEUE="https://sqs.ap-northeast-1.amazonaws.com/1")},
         }),
    Case(rule="ResidencyBucketOneRegion",
         passes={"Bucket": _bucket(_joined("mangaassist-lake-jp-", _ACCOUNT)),
                 "Generated": {"Type": "AWS::S3::Bucket", "Properties": {}}},
         breaks={
             "names a bucket of us": {"Bucket": _bucket(_joined("mangaassist-lake-us-", _ACCOUNT))},
             "LAKE: names a bucket of eu": {"Function": _function(LAKE=_joined("mangaassist-lake-eu-", _ACCOUNT))},
             "does not say whose it is": {"Bucket": _bucket("mangaassist-lake")},
         }),
    Case(rule="ResidencyBucketOneRegion", deployment=US,
         passes={"Role": role(_allow("s3:GetObject", on=_HOME_MODELS)),
                 "Function": _function(HOME=_joined("mangaassist-artifacts-jp-", _ACCOUNT))},
         breaks={
             "names a bucket of jp": {"Role": role(_allow("s3:GetObject", on=_HOME_RUNS))},
             "Resource.1.*names a bucket of jp": {"Role": role(_allow("s3:PutObject", on=["a", _HOME_MODELS]))},
             "LAKE: names a bucket of jp": {"Function": _function(LAKE=_joined("mangaassist-lake-jp-", _ACCOUNT))},
         }),
    Case(rule="ResidencyDashboard", passes={"Board": _dashboard("ap-northeast-1")},
         breaks={"'drift' shows us-east-1": {"Board": _dashboard("us-east-1")}}),
    Case(rule="ResidencyNoReplication",
         passes={"Bucket": _bucket(_joined("mangaassist-lake-jp-", _ACCOUNT)),
                 "Key": {"Type": "AWS::KMS::Key", "Properties": {"KeyPolicy": {}, "MultiRegion": False}}},
         breaks={
             "ReplicationConfiguration": {"Bucket": _bucket("b", ReplicationConfiguration={"Role": "r", "Rules": []})},
             "MultiRegion: copies": {"Key": {"Type": "AWS::KMS::Key", "Properties": {"MultiRegion": True}}},
             "GlobalTable spans regions": {"Table": {"Type": "AWS::DynamoDB::GlobalTable"}},
             "ReplicaRegions": {"Secret": {"Type": "AWS::SecretsManager::Secret", "Properties": {
                 "ReplicaRegions": [{"Region": "us-east-1"}]}}},
         }),
    Case(rule="ResidencyNoExport",
         passes={"Stream": _stream("ExtendedS3DestinationConfiguration", Prefix="capture/"), "Rule": _rule(_HERE)},
         breaks={
             "HttpEndpointDestinationConfiguration": {"Stream": _stream("HttpEndpointDestinationConfiguration")},
             "ApiDestination leads out": {"Hook": {"Type": "AWS::Events::ApiDestination"}},
             "InternetGateway leads out": {"Gateway": {"Type": "AWS::EC2::InternetGateway"}},
         }),
    Case(rule="ResidencyNoHiddenTemplate", passes={"Rule": _rule(_HERE)},
         breaks={"StackSet brings can't be read": {"Set": {"Type": "AWS::CloudFormation::StackSet"}}}),
    Case(rule="ResidencySubscription", passes={"Queue": _subscription("sqs")},
         breaks={
             "email leaves the region": {"Mail": _subscription("email")},
             "listens to a topic in eu-west-1": {"Queue": _subscription("sqs", Region="eu-west-1")},
             "https leaves the region": {"Topic": {"Type": "AWS::SNS::Topic", "Properties": {
                 "Subscription": [{"Protocol": "https", "Endpoint": "https://example.com"}]}}},
         }),
    Case(rule="ResidencyOneRegionInference",
         passes={"Function": _function(MODEL="anthropic.claude-haiku", PAGE="jp.example.com")},
         breaks={
             "'jp.anthropic.'": {"Function": _function(MODEL="jp.anthropic.claude-haiku")},
             "'global.anthropic.'": {"Function": _function(MODEL="global.anthropic.claude-haiku")},
             "'apac.amazon.'": {"Machine": machine(states={"Ask": task(Parameters={"ModelId": "apac.amazon.nova"})})},
             ":inference-profile/": {"Role": role(_allow("bedrock:InvokeModel",
                                                         on="arn:aws:bedrock:::inference-profile/a"))},
             "ApplicationInferenceProfile may": {"Profile": {"Type": "AWS::Bedrock::ApplicationInferenceProfile"}},
             "InferenceRouter": {"Machine": machine(states={
                 "Route": task("arn:aws:states:::aws-sdk:sagemaker:createInferenceRouter")})},
         }),
    Case(rule="ResidencyOneRegionTrail",
         passes={"Trail": {"Type": "AWS::CloudTrail::Trail", "Properties": {"IsMultiRegionTrail": False}}},
         breaks={
             "IsMultiRegionTrail": {"Trail": {"Type": "AWS::CloudTrail::Trail", "Properties": {
                 "IsMultiRegionTrail": True}}},
             "MultiRegionEnabled": {"Store": {"Type": "AWS::CloudTrail::EventDataStore"}},
         }),
    Case(rule="ResidencyGrants",
         passes={"Role": role(_allow("sqs:SendMessage", on=_HERE), _allow("xray:PutTraceSegments", on="*")),
                 "Policy": {"Type": "AWS::SQS::QueuePolicy", "Properties": {"PolicyDocument": policy(
                     _allow("sqs:SendMessage", on="*", Principal=_SERVICE),
                     _allow("sqs:SendMessage", on="*", Principal="*",
                            Condition={"StringEquals": {"aws:PrincipalOrgID": "o"}}),
                     {"Effect": "Deny", "Action": "sqs:*", "Resource": "*", "Principal": "*"})}}},
         breaks={
             r"grants to \*": {"Policy": {"Type": "AWS::S3::BucketPolicy", "Properties": {
                 "PolicyDocument": policy(_allow("s3:GetObject", on="*", Principal="*"))}}},
             r"Principal: grants to \*": {"Policy": {"Type": "AWS::SQS::QueuePolicy", "Properties": {
                 "PolicyDocument": policy(_allow("sqs:SendMessage", on="*", Principal={"AWS": "*"},
                                                 Condition={"Bool": {"aws:SecureTransport": "true"}}))}}},
             "grants to everybody else": {"Key": {"Type": "AWS::KMS::Key", "Properties": {
                 "KeyPolicy": policy(_allow("kms:Decrypt", on="*", NotPrincipal={"AWS": "a"}))}}},
             "grants to arn:aws:iam::999999999999:root": {"Key": {"Type": "AWS::KMS::Key", "Properties": {
                 "KeyPolicy": policy(_allow("kms:Decrypt", on="*",
                                            Principal={"AWS": "arn:aws:iam::999999999999:root"}))}}},
             "reaches into every region": {"Role": role(_allow("sqs:SendMessage", on="arn:aws:sqs:*:1:queue"))},
             "mangaassist-lake-.* reaches": {"Role": role(_allow("s3:GetObject",
                                                                 on="arn:aws:s3:::mangaassist-lake-*"))},
             "grants to 999999999999": {"Permission": {"Type": "AWS::Lambda::Permission", "Properties": {
                 "Principal": "999999999999"}}},
         }),
)


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c.rule}-{c.deployment.name}")
def test_the_rule_lets_pass_and_breaks(case: Case, tmp_path: Path) -> None:
    check(case, tmp_path)

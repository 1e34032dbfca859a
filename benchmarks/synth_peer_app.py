"""Peer of `synth_seconds`: as many resources as our app, as bare L1 constructs, in the same stacks and stages.

PEER_COUNTS names a JSON file: {"jp/Data": {"AWS::S3::Bucket": 4, ...}, ...}. Types without a line
below become SSM parameters. No assets, no grants, no references: the least that CDK can do.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

from aws_cdk import App, CfnResource, Environment, Stack, Stage
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sqs as sqs
from aws_cdk import aws_ssm as ssm

_POLICY = {"Version": "2012-10-17", "Statement": [
    {"Effect": "Allow", "Action": ["s3:GetObject", "s3:PutObject"], "Resource": "arn:aws:s3:::bucket/prefix/*"},
    {"Effect": "Allow", "Action": "kms:Decrypt", "Resource": "arn:aws:kms:ap-northeast-1:123456789012:key/*"}]}
_TRUST = {"Version": "2012-10-17", "Statement": [
    {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "lambda.amazonaws.com"}}]}

_BUILDERS: dict[str, Callable[[Stack, str], CfnResource]] = {
    "AWS::IAM::Role": lambda stack, id_: iam.CfnRole(
        stack, id_, assume_role_policy_document=_TRUST, description="A role",
        policies=[iam.CfnRole.PolicyProperty(policy_name="Own", policy_document=_POLICY)]),
    "AWS::CloudWatch::Alarm": lambda stack, id_: cloudwatch.CfnAlarm(
        stack, id_, comparison_operator="GreaterThanThreshold", evaluation_periods=1, metric_name="Errors",
        namespace="AWS/Lambda", period=300, statistic="Sum", threshold=1,
        dimensions=[cloudwatch.CfnAlarm.DimensionProperty(name="FunctionName", value=id_)]),
    "AWS::Logs::LogGroup": lambda stack, id_: logs.CfnLogGroup(stack, id_, retention_in_days=90),
    "AWS::Lambda::Function": lambda stack, id_: lambda_.CfnFunction(
        stack, id_, role="arn:aws:iam::123456789012:role/any", handler="handler.handler", runtime="python3.13",
        code=lambda_.CfnFunction.CodeProperty(s3_bucket="bucket", s3_key="key"), timeout=30, memory_size=256,
        environment=lambda_.CfnFunction.EnvironmentProperty(variables={"TABLE": "table", "BUCKET": "bucket"})),
    "AWS::SQS::Queue": lambda stack, id_: sqs.CfnQueue(stack, id_, sqs_managed_sse_enabled=True),
    "AWS::S3::Bucket": lambda stack, id_: s3.CfnBucket(
        stack, id_, versioning_configuration=s3.CfnBucket.VersioningConfigurationProperty(status="Enabled")),
}


def _parameter(stack: Stack, id_: str) -> CfnResource:
    return ssm.CfnParameter(stack, id_, type="String", value="value")


def main() -> None:
    counts: dict[str, dict[str, int]] = json.loads(Path(os.environ["PEER_COUNTS"]).read_text("utf-8"))
    app = App(analytics_reporting=False)
    stages: dict[str, Stage] = {}
    for path, types in counts.items():
        name, room = path.split("/")
        if name not in stages:
            stages[name] = Stage(app, name, env=Environment(region="ap-northeast-1"))
        stack = Stack(stages[name], room)
        for type_, count in types.items():
            for i in range(count):
                _BUILDERS.get(type_, _parameter)(stack, f"{type_.replace(':', '')}{i}")
    app.synth()


if __name__ == "__main__":
    main()

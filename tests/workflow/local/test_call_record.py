"""The record of what IAM was asked, and the table of calls whose IAM actions have other names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from botocore import xform_name
from botocore.exceptions import ClientError

from local import api_actions, call_record
from local.config import ACCOUNT
from tests.support.embedded import REGION, EmbeddedAws, unique

pytestmark = pytest.mark.surface("IAM: the record of calls")

OBJECT = {"Bucket": "any-bucket", "Key": "folder/file"}
KEY = {"id": {"S": "1"}}
WRITE = {"TableName": "written", "Key": KEY}
REQUESTS: dict[str, dict[str, Any]] = {
    "s3:HeadObject": OBJECT,
    "s3:HeadBucket": {"Bucket": "any-bucket"},
    "s3:ListObjectsV2": {"Bucket": "any-bucket", "Prefix": "folder/"},
    "s3:CopyObject": {**OBJECT, "CopySource": "other-bucket/from"},
    "s3:CreateMultipartUpload": OBJECT,
    "s3:UploadPart": {**OBJECT, "UploadId": "u", "PartNumber": 1, "Body": b"x"},
    "s3:CompleteMultipartUpload": {**OBJECT, "UploadId": "u"},
    "s3:DeleteObjects": {"Bucket": "any-bucket", "Delete": {"Objects": [{"Key": "a"}, {"Key": "b"}]}},
    "lambda:Invoke": {"FunctionName": "any-function"},
    "dynamodb:BatchGetItem": {"RequestItems": {"one": {"Keys": [KEY]}, "two": {"Keys": [KEY]}}},
    "dynamodb:TransactWriteItems": {"TransactItems": [
        {"Put": {"TableName": "put", "Item": KEY}}, {"Update": {**WRITE, "UpdateExpression": "SET a = b"}},
        {"Delete": WRITE}, {"ConditionCheck": {**WRITE, "ConditionExpression": "a = b"}}]},
    "dynamodb:TransactGetItems": {"TransactItems": [{"Get": WRITE}]},
    "events:PutEvents": {"Entries": [{"EventBusName": bus, "Source": "s", "DetailType": "d", "Detail": "{}"}
                                     for bus in ("one", "two")]},
    "states:StartExecution": {"stateMachineArn": f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:any"},
    "ssm:GetParameters": {"Names": ["/a/b", "/a/c"]},
    "cloudwatch:DescribeAlarms": {"AlarmNames": ["one", "two"]},
    "codebuild:BatchGetProjects": {"names": ["one", "two"]},
    "ecr:DescribeRepositories": {"repositoryNames": ["one", "two"]},
    "sagemaker:CreateEndpoint": {"EndpointName": "served", "EndpointConfigName": "config"},
    "sagemaker:UpdateEndpoint": {"EndpointName": "served", "EndpointConfigName": "config"},
    "sagemaker:CreateModelPackage": {"ModelPackageGroupName": "group"},
    "sagemaker:ListModelPackages": {"ModelPackageGroupName": "group"},
    "glue:CreateDatabase": {"DatabaseInput": {"Name": "database"}},
    "glue:GetDatabase": {"Name": "database"},
    "glue:GetTable": {"DatabaseName": "database", "Name": "table"},
    "glue:CreateTable": {"DatabaseName": "database", "TableInput": {"Name": "table"}},
    "glue:UpdateTable": {"DatabaseName": "database", "TableInput": {"Name": "table"}},
}
CLIENTS = {"states": "stepfunctions"}


def recorded(aws: EmbeddedAws, role: str) -> list[dict[str, Any]]:
    lines = call_record.read(aws.running.config.data_dir / call_record.FILE)
    return [line for line in lines if line["principal"] == role]


def call(aws: EmbeddedAws, role: str, api: str, request: dict[str, Any]) -> None:
    """As the role; that the thing itself is not there is no matter, IAM is asked first."""
    service, operation = api.split(":")
    client = aws.as_role(CLIENTS.get(service, service), role)
    try:
        getattr(client, xform_name(operation))(**request)
    except ClientError as error:
        if "AccessDenied" in error.response["Error"]["Code"]:
            raise


@pytest.fixture(scope="module", autouse=True)
def _bucket(aws: EmbeddedAws) -> None:
    """The two HEAD requests need something to look at; nothing else does."""
    s3 = aws.client("s3")
    s3.create_bucket(Bucket=OBJECT["Bucket"], CreateBucketConfiguration={"LocationConstraint": REGION})
    s3.put_object(**OBJECT, Body=b"x")


@pytest.mark.parametrize("row", api_actions.API_CALLS, ids=lambda row: ":".join(row.api))
def test_a_call_is_authorised_as_the_table_says(aws: EmbeddedAws, row: api_actions.ApiCall) -> None:
    api, role = ":".join(row.api), aws.role("lambda.amazonaws.com", ("*", "*"))
    call(aws, role, api, REQUESTS[api])
    asked = {(line["action"], line["resource"]) for line in recorded(aws, role)}
    assert asked
    assert asked == set(row.expected(REQUESTS[api], region=REGION, account=ACCOUNT))


def test_an_endpoint_config_that_is_not_granted_is_refused(aws: EmbeddedAws) -> None:
    arn = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:endpoint/served"
    client = aws.as_role("sagemaker", aws.role("lambda.amazonaws.com", ("sagemaker:UpdateEndpoint", arn)))
    with pytest.raises(ClientError, match=r"not authorized.*sagemaker:UpdateEndpoint.*endpoint-config/other"):
        client.update_endpoint(EndpointName="served", EndpointConfigName="other")


def test_the_record_has_what_policies_can_ask_for(aws: EmbeddedAws) -> None:
    bucket, role = unique("bucket"), aws.role("lambda.amazonaws.com", ("*", "*"))
    aws.client("s3").create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
    for _ in range(3):
        aws.as_role("s3", role).list_objects_v2(Bucket=bucket, Prefix="labels/")
    line = recorded(aws, role)[0]
    assert line == {"principal": role, "action": "s3:ListBucket", "resource": f"arn:aws:s3:::{bucket}",
                    "region": REGION, "count": 1, "context": {"aws:securetransport": "true", "s3:prefix": "labels/"}}


def test_a_line_per_power_of_ten(tmp_path: Path) -> None:
    record = call_record.CallRecord(tmp_path / "calls.jsonl")
    for _ in range(250):
        record.note(principal="r", action="s3:GetObject", resource="x", region=REGION, context={"aws:userid": "u"})
    lines = [json.loads(line) for line in (tmp_path / "calls.jsonl").read_text().splitlines()]
    assert [line["count"] for line in lines] == [1, 10, 100]
    assert call_record.read(tmp_path / "calls.jsonl") == [
        {"principal": "r", "action": "s3:GetObject", "resource": "x", "region": REGION, "context": {}, "count": 100}]

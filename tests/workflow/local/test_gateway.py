"""HTTP APIs: a request reaches its function by route and permission, and nothing else does."""

import json
import urllib.error
import urllib.request
from typing import Any

import pytest

from tests.support.embedded import EmbeddedAws, eventually
from tests.workflow.local.test_stacks import create, outputs, update

ECHO = """
import json

def handler(event, context):
    if event["pathParameters"]["name"] == "broken":
        raise ValueError("a secret")
    said = {"path": event["pathParameters"], "body": event.get("body"), "header": event["headers"].get("x-word")}
    return {"statusCode": 202, "headers": {"content-type": "application/json"}, "body": json.dumps(said)}
"""


def call(aws: EmbeddedAws, api: str, path: str, *, method: str = "POST") -> tuple[int, Any]:
    """As a client of the API's own host name does; localhost has no names below it everywhere."""
    port = aws.endpoint_url.rsplit(":", 1)[1]
    request = urllib.request.Request(aws.endpoint_url + path, method=method, data=b'{"a": 1}', headers={
        "Host": f"{api}.execute-api.localhost:{port}", "Content-Type": "application/json", "x-word": "hello"})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def api_of(function: str, *, permitted: str = "/*/POST/notes/{name}", per_s: int = 50) -> dict[str, Any]:
    source = {"Fn::Sub": "arn:aws:execute-api:${AWS::Region}:${AWS::AccountId}:${Api}" + permitted}
    return {
        "Api": {"Type": "AWS::ApiGatewayV2::Api", "Properties": {"Name": "notes", "ProtocolType": "HTTP"}},
        "To": {"Type": "AWS::ApiGatewayV2::Integration", "Properties": {
            "ApiId": {"Ref": "Api"}, "IntegrationType": "AWS_PROXY", "IntegrationUri": function,
            "PayloadFormatVersion": "2.0"}},
        "Route": {"Type": "AWS::ApiGatewayV2::Route", "Properties": {
            "ApiId": {"Ref": "Api"}, "RouteKey": "POST /notes/{name}", "AuthorizationType": "NONE",
            "Target": {"Fn::Sub": "integrations/${To}"}}},
        "Stage": {"Type": "AWS::ApiGatewayV2::Stage", "Properties": {
            "ApiId": {"Ref": "Api"}, "StageName": "$default", "AutoDeploy": True,
            "DefaultRouteSettings": {"ThrottlingRateLimit": per_s, "ThrottlingBurstLimit": per_s}}},
        "May": {"Type": "AWS::Lambda::Permission", "Properties": {
            "Action": "lambda:InvokeFunction", "FunctionName": function, "Principal": "apigateway.amazonaws.com",
            "SourceArn": source}},
    }


@pytest.mark.surface("AWS::ApiGatewayV2::Api, ::Stage, ::Route, ::Integration (HTTP API to a Lambda function)")
def test_a_request_reaches_the_function_of_its_route_and_only_with_the_functions_permission(aws: EmbeddedAws) -> None:
    function = aws.function(ECHO)
    stack = create(aws, api_of(function), Outputs={"Api": {"Value": {"Ref": "Api"}}})
    assert stack["StackStatus"] == "CREATE_COMPLETE", stack
    api = outputs(stack)["Api"]
    assert call(aws, api, "/notes/first") == (202, {"path": {"name": "first"}, "body": '{"a": 1}', "header": "hello"})
    assert call(aws, api, "/notes/first", method="PUT")[0] == 404
    assert call(aws, api, "/elsewhere")[0] == 404
    assert call(aws, api, "/notes/broken") == (500, {"message": "Internal Server Error"})
    update(aws, stack["StackName"], api_of(function, permitted="/*/POST/other/{name}"),
           Outputs={"Api": {"Value": {"Ref": "Api"}}})
    assert call(aws, api, "/notes/first") == (500, {"message": "Internal Server Error"})


@pytest.mark.surface("AWS::ApiGatewayV2::Stage: throttling of a route")
def test_more_than_the_burst_is_told_to_come_later(aws: EmbeddedAws) -> None:
    stack = create(aws, api_of(aws.function(ECHO), per_s=1), Outputs={"Api": {"Value": {"Ref": "Api"}}})
    api = outputs(stack)["Api"]
    eventually(lambda: call(aws, api, "/notes/first")[0] == 429)
    eventually(lambda: call(aws, api, "/notes/first")[0] == 202)


@pytest.mark.surface("EventBridge: aws.s3")
def test_an_object_of_a_bucket_with_events_reaches_eventbridge(aws: EmbeddedAws) -> None:
    stack = create(aws, {"B": {"Type": "AWS::S3::Bucket", "Properties": {
        "NotificationConfiguration": {"EventBridgeConfiguration": {"EventBridgeEnabled": True}}}}},
        Outputs={"B": {"Value": {"Ref": "B"}}})
    bucket = outputs(stack)["B"]
    heard = aws.events_queue({"source": ["aws.s3"], "detail-type": ["Object Created"],
                              "detail": {"bucket": {"name": [bucket]}, "object": {"key": [{"prefix": "in/"}]}}})
    for key in ("out/a", "in/a"):
        aws.client("s3").put_object(Bucket=bucket, Key=key, Body=b"x")
    [event] = eventually(heard)
    assert (event["detail"]["object"]["key"], event["detail"]["reason"]) == ("in/a", "PutObject")

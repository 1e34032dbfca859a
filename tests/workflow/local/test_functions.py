"""Lambda: what a function sees, and how it fails."""

import json

import pytest

from tests.support.embedded import EmbeddedAws, eventually, unique, zipped

pytestmark = pytest.mark.surface("AWS::Lambda::Function")


def test_a_function_sees_boto3_but_none_of_the_servers_packages(aws: EmbeddedAws) -> None:
    code = """
import importlib.util, sys
import boto3
def handler(event, context):
    return {name: importlib.util.find_spec(name) is not None for name in event}
"""
    error, seen = aws.invoke(aws.function(code), ["boto3", "ministack", "moto", "yaml", "hypercorn", "local", "pytest"])
    assert error is None
    assert seen == {"boto3": True, "ministack": False, "moto": False, "yaml": False, "hypercorn": False,
                    "local": False, "pytest": False}


def test_a_function_sees_its_own_environment_and_not_the_servers(aws: EmbeddedAws) -> None:
    code = "import os\ndef handler(event, context): return dict(os.environ)"
    function = aws.function(code, Environment={"Variables": {"COLOUR": "green", "LOG_LEVEL": "WARNING"}})
    _, environment = aws.invoke(function)
    assert environment["COLOUR"] == "green"
    assert environment["LOG_LEVEL"] == "WARNING"
    assert environment["AWS_ENDPOINT_URL"] == aws.endpoint_url
    assert environment["AWS_REGION"] == aws.region
    assert environment["AWS_ACCESS_KEY_ID"].startswith("ASIA")
    assert not {"AUTH", "S3_PERSIST", "GATEWAY_PORT", "MINISTACK_REGION"} & set(environment)


def test_an_exception_answers_with_its_class_name_and_trace(aws: EmbeddedAws) -> None:
    code = "class OutOfStock(Exception): pass\ndef handler(event, context): raise OutOfStock('none left')"
    error, payload = aws.invoke(aws.function(code))
    assert error == "Unhandled"
    assert payload["errorType"] == "OutOfStock"
    assert payload["errorMessage"] == "none left"
    assert "raise OutOfStock" in payload["stackTrace"][-1]


def test_the_environment_lives_on_after_an_exception(aws: EmbeddedAws) -> None:
    code = """
calls = []
def handler(event, context):
    calls.append(1)
    if event:
        raise ValueError
    return len(calls)
"""
    function = aws.function(code)
    aws.invoke(function, {"fail": True})
    assert aws.invoke(function) == (None, 2)


def test_a_function_over_its_timeout_is_ended(aws: EmbeddedAws) -> None:
    function = aws.function("import time\ndef handler(event, context): time.sleep(event.get('s', 0))", timeout_s=1)
    error, payload = aws.invoke(function, {"s": 30})
    assert error == "Unhandled"
    assert payload["errorType"] == "Sandbox.Timedout"
    assert "Task timed out after 1.00 seconds" in payload["errorMessage"]
    assert aws.invoke(function) == (None, None), "the next call gets a fresh environment"


@pytest.mark.parametrize(("code", "kind"), [
    ("import no_such_package\ndef handler(event, context): pass", "Runtime.ImportModuleError"),
    ("def handler(event, context:", "Runtime.UserCodeSyntaxError"),
    ("def other(event, context): pass", "Runtime.HandlerNotFound"),
    ("import sys\ndef handler(event, context): return {1, 2}", "Runtime.MarshalError"),
    ("import os\ndef handler(event, context): os._exit(3)", "Runtime.ExitError"),
])
def test_a_function_that_cannot_run_says_why_in_awss_words(aws: EmbeddedAws, code: str, kind: str) -> None:
    error, payload = aws.invoke(aws.function(code))
    assert error == "Unhandled"
    assert payload["errorType"] == kind


def test_prints_reach_the_log_and_not_the_answer(aws: EmbeddedAws) -> None:
    code = """
import os
def handler(event, context):
    print('{"from": "print"}')
    os.system('echo from-a-child')
    return 1
"""
    function = aws.function(code)
    assert aws.invoke(function) == (None, 1)
    group = f"/aws/lambda/{function.rpartition(':')[2]}"
    messages = eventually(lambda: [e["message"] for e in aws.client("logs").filter_log_events(
        logGroupName=group)["events"]])
    assert any('{"from": "print"}' in m for m in messages)
    assert any("from-a-child" in m for m in messages)


@pytest.mark.surface("AWS::Lambda::LayerVersion")
def test_a_layer_brings_packages_and_the_functions_own_code_comes_first(aws: EmbeddedAws) -> None:
    archive = zipped({"python/shade.py": "TONE = 'layer'", "python/index.py": "TONE = 'wrong'"})
    layer = aws.client("lambda").publish_layer_version(
        LayerName=unique("layer"), Content={"ZipFile": archive})["LayerVersionArn"]
    function = aws.function("import shade\ndef handler(event, context): return shade.TONE", Layers=[layer])
    assert aws.invoke(function) == (None, "layer")


@pytest.mark.surface("iam: a Lambda function's role")
def test_a_call_beyond_the_role_is_denied(aws: EmbeddedAws) -> None:
    code = """
import boto3
def handler(event, context):
    return boto3.client('ssm').get_parameter(Name=event)['Parameter']['Value']
"""
    aws.client("ssm").put_parameter(Name="/allowed/one", Value="yes", Type="String")
    aws.client("ssm").put_parameter(Name="/other/one", Value="no", Type="String")
    function = aws.function(code, ("ssm:GetParameter", "arn:aws:ssm:*:*:parameter/allowed/*"))
    assert aws.invoke(function, "/allowed/one") == (None, "yes")
    error, payload = aws.invoke(function, "/other/one")
    assert error == "Unhandled"
    assert payload["errorType"] == "AccessDeniedException"


@pytest.mark.surface("iam: trust policies")
def test_a_role_that_does_not_trust_lambda_is_refused(aws: EmbeddedAws) -> None:
    role = aws.role("states.amazonaws.com")
    client = aws.client("lambda")
    name = unique("function")
    with pytest.raises(client.exceptions.InvalidParameterValueException, match="cannot be assumed by"):
        client.create_function(FunctionName=name, Runtime="python3.13", Role=role, Handler="index.handler",
                               Code={"ZipFile": zipped({"index.py": "def handler(e, c): pass"})})


@pytest.mark.surface("CloudWatch embedded metric format")
def test_metrics_in_the_log_become_cloudwatch_metrics(aws: EmbeddedAws) -> None:
    line = {"_aws": {"Timestamp": 0, "CloudWatchMetrics": [{"Namespace": "Shop", "Dimensions": [["Shelf"]],
                                                            "Metrics": [{"Name": "Sold", "Unit": "Count"}]}]},
            "Shelf": "left", "Sold": [3.0, 4.0]}
    aws.invoke(aws.function(f"def handler(event, context): print({json.dumps(json.dumps(line))})"))
    found = eventually(lambda: aws.client("cloudwatch").list_metrics(Namespace="Shop")["Metrics"])
    assert found == [{"Namespace": "Shop", "MetricName": "Sold", "Dimensions": [{"Name": "Shelf", "Value": "left"}]}]

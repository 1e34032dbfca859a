"""Faults on purpose, and the record of calls."""

import json
import urllib.error

import pytest
from botocore.exceptions import ClientError

from tests.support.embedded import EmbeddedAws, unique

_WRITES = """
import boto3
def handler(event, context):
    return boto3.client("ssm").put_parameter(Name="{name}", Value="v", Type="String", Overwrite=True)["Version"]
"""

pytestmark = pytest.mark.surface("/_local/faults and /_local/calls")


def test_a_throttled_operation_fails_so_often_and_then_works(aws: EmbeddedAws) -> None:
    name = f"/{unique('flag')}"
    aws.client("ssm").put_parameter(Name=name, Value="v", Type="String")
    with aws.fault(service="ssm", operation="GetParameter", kind="throttle", times=1):
        with pytest.raises(ClientError, match="ThrottlingException"):
            aws.client("ssm").get_parameter(Name=name)
        assert aws.client("ssm").get_parameter(Name=name)["Parameter"]["Value"] == "v"


@pytest.mark.parametrize(("service", "call"), [
    ("ssm", lambda c: c.describe_parameters()), ("s3", lambda c: c.list_buckets()), ("sns", lambda c: c.list_topics()),
    ("cloudwatch", lambda c: c.describe_alarms()), ("lambda", lambda c: c.list_functions()),
    ("dynamodb", lambda c: c.list_tables()), ("ec2", lambda c: c.describe_vpcs())])
def test_every_protocol_carries_a_server_error(aws: EmbeddedAws, service: str, call) -> None:  # type: ignore[no-untyped-def]
    with aws.fault(service=service, kind="error"), pytest.raises(ClientError) as caught:
        call(aws.client(service))
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 500
    assert caught.value.response["Error"]["Code"].startswith("Internal")


def test_a_lost_answer_means_that_the_call_happened(aws: EmbeddedAws) -> None:
    name = f"/{unique('flag')}"
    with aws.fault(service="ssm", operation="PutParameter", kind="lose_answer", times=1), pytest.raises(ClientError):
        aws.client("ssm").put_parameter(Name=name, Value="v", Type="String")
    assert aws.client("ssm").get_parameter(Name=name)["Parameter"]["Value"] == "v"


def test_a_fault_can_be_for_one_role_only(aws: EmbeddedAws) -> None:
    role = aws.role("lambda.amazonaws.com", ("ssm:DescribeParameters", "*"))
    with aws.fault(service="ssm", kind="deny", role=role.rpartition("/")[2]):
        aws.client("ssm").describe_parameters()
        with pytest.raises(ClientError, match="AccessDenied"):
            aws.as_role("ssm", role).describe_parameters()


def test_calls_are_recorded_with_who_called_what(aws: EmbeddedAws) -> None:
    role = aws.role("lambda.amazonaws.com", ("ssm:GetParameter", "*"))
    name = f"/{unique('flag')}"
    with pytest.raises(ClientError, match="ParameterNotFound"):
        aws.as_role("ssm", role).get_parameter(Name=name)
    call = next(c for c in aws.local("GET", "calls?service=ssm") if name in c["resource"])
    assert (call["operation"], call["status"]) == ("GetParameter", 400)
    assert call["role"] == f"{role.rpartition('/')[2]}/test"


def test_an_unknown_kind_is_refused_with_the_allowed_ones(aws: EmbeddedAws) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        aws.local("POST", "faults", {"service": "ssm", "kind": "explode"})
    assert "lose_answer" in json.loads(caught.value.read())["error"]


@pytest.mark.surface("iam: aws:SecureTransport")
def test_a_bucket_that_wants_tls_takes_localhost_and_refuses_what_says_it_is_plain_http(aws: EmbeddedAws) -> None:
    bucket = unique("bucket")
    aws.client("s3").create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": aws.region})
    aws.client("s3").put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [{
        "Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": f"arn:aws:s3:::{bucket}/*",
        "Condition": {"Bool": {"aws:SecureTransport": "false"}}}]}))
    role = aws.role("lambda.amazonaws.com", ("s3:*", "*"))
    client = aws.as_role("s3", role)
    client.put_object(Bucket=bucket, Key="a", Body=b"a")
    client.meta.events.register("before-sign.s3.*", lambda request, **_: request.headers.add_header(
        "X-Forwarded-Proto", "http"))
    with pytest.raises(ClientError, match="AccessDenied"):
        client.put_object(Bucket=bucket, Key="b", Body=b"b")


@pytest.mark.parametrize("fault", [{"service": "ssm", "kind": "starve"}, {"service": "container", "kind": "error"}])
def test_only_a_container_can_starve(aws: EmbeddedAws, fault: dict[str, str]) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        aws.local("POST", "faults", fault)
    assert "kind starve goes with service container and no other" in caught.value.read().decode()


def test_a_call_made_twice_at_the_same_time_gives_the_better_answer(aws: EmbeddedAws) -> None:
    name = f"/{unique('flag')}"
    with aws.fault(service="ssm", operation="Put*", kind="twice", times=1):
        aws.client("ssm").put_parameter(Name=name, Value="v", Type="String")  # the other one: ParameterAlreadyExists
    assert aws.client("ssm").get_parameter(Name=name)["Parameter"]["Version"] == 1


@pytest.mark.parametrize(("fault", "error"), [
    ({"service": "lambda", "operation": "InvokeFunction", "kind": "timeout", "seconds": 1.0}, "Sandbox.Timedout"),
    ({"service": "ssm", "operation": "PutParameter", "kind": "kill"}, "Runtime.ExitError")])
def test_a_function_that_hangs_or_is_killed_says_so_and_the_next_invocation_works(
        aws: EmbeddedAws, fault: dict[str, object], error: str) -> None:
    name = f"/{unique('flag')}"
    function = aws.function(_WRITES.format(name=name), ("ssm:PutParameter", "*"))
    with aws.fault(**fault, times=1):
        failed, answer = aws.invoke(function, {})
        assert (failed, answer["errorType"]) == ("Unhandled", error)
        assert [found["used"] for found in aws.local("GET", "faults")] == [1]
    assert aws.client("ssm").get_parameter(Name=name)["Parameter"]["Version"] == 1, "its first call was carried out"
    assert aws.invoke(function, {}) == (None, 2)


def test_a_fault_can_be_for_one_state_of_one_machine(aws: EmbeddedAws) -> None:
    list_topics = {"Type": "Task", "Resource": "arn:aws:states:::aws-sdk:sns:listTopics"}
    machine = aws.machine({"First": {**list_topics, "Next": "Second"}, "Second": {**list_topics, "End": True}},
                          ("sns:ListTopics", "*"))
    name = machine.rpartition(":")[2]
    with aws.fault(service="sns", kind="error", state=f"{name}/Second"):
        ended = aws.run(machine)
    entered = [call["status"] for call in aws.local("GET", "calls?service=sns") if f"{name}/" in str(call["states"])]
    assert (ended["status"], entered) == ("FAILED", [200, 500])

"""A whole CDK app, synthesised, deployed, run and updated; nothing in it is known to the embedded AWS."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from local.deploy import DeployError, StackResult, deploy
from tests.support.embedded import EmbeddedAws, eventually, synthesise

APP = Path(__file__).with_name("notes_app") / "app.py"
REGION = "eu-west-1"
pytestmark = pytest.mark.surface("CDK assembly: python -m local deploy")


@pytest.fixture(scope="module")
def assemblies(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {variant: synthesise(APP, tmp_path_factory.mktemp(variant), variant=variant)
            for variant in ("first", "second")}


@pytest.fixture(scope="module")
def notes(aws: EmbeddedAws, assemblies: dict[str, Path]) -> StackResult:
    return deploy(assemblies["first"], endpoint_url=aws.endpoint_url)[0]


@pytest.fixture
def run(aws: EmbeddedAws, notes: StackResult) -> Callable[[dict[str, Any]], dict[str, Any]]:
    def start(event: dict[str, Any]) -> dict[str, Any]:
        client = aws.client("stepfunctions", REGION)
        arn = client.start_execution(
            stateMachineArn=notes.outputs["MachineArn"], input=json.dumps(event))["executionArn"]
        return dict(eventually(
            lambda: (d := client.describe_execution(executionArn=arn))["status"] != "RUNNING" and d))

    return start


def test_the_state_machine_saves_a_note_through_lambda_table_and_bucket(
        aws: EmbeddedAws, notes: StackResult, run: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    ended = run({"note": "one", "text": "hello"})
    assert ended["status"] == "SUCCEEDED", ended.get("cause")
    assert json.loads(ended["output"])["saved"] == {"note": "one", "characters": 5}
    body = aws.client("s3", REGION).get_object(Bucket=notes.outputs["BucketName"], Key="notes/one.json")["Body"].read()
    assert json.loads(body)["text"] == "hello"
    found = aws.client("dynamodb", REGION).get_item(TableName=notes.outputs["TableName"], Key={"note": {"S": "one"}})
    assert found["Item"]["text"] == {"S": "hello"}


def test_a_note_outside_the_granted_prefix_is_denied(run: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    ended = run({"note": "two", "text": "hello", "key": "elsewhere/two.json"})
    assert (ended["status"], ended["error"]) == ("FAILED", "AccessDenied")


def test_an_empty_note_is_caught_and_a_busy_shelf_retried(run: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    assert json.loads(run({"note": "three"})["output"])["refused"] == "EmptyNote"
    assert run({"note": "four", "text": "busy"})["status"] == "SUCCEEDED"


def test_a_metric_sets_off_the_alarm_whose_rule_starts_the_machine(aws: EmbeddedAws, notes: StackResult) -> None:
    aws.client("cloudwatch", REGION).put_metric_data(Namespace="Notes", MetricData=[
        {"MetricName": "Lost", "Value": 9, "Dimensions": [{"Name": "Shelf", "Value": "main"}]}])
    s3 = aws.client("s3", REGION)
    bucket = notes.outputs["BucketName"]
    eventually(lambda: s3.list_objects_v2(Bucket=bucket, Prefix="notes/from-alarm").get("Contents"))


def test_the_switch_reaches_the_queue_and_the_function(aws: EmbeddedAws, notes: StackResult) -> None:
    aws.client("ssm", REGION).put_parameter(Name="/notes/switch", Value="off", Overwrite=True)
    sqs = aws.client("sqs", REGION)
    url = sqs.get_queue_url(QueueName="notes-inbox")["QueueUrl"]
    eventually(lambda: any(json.loads(m["Body"])["detail"]["operation"] == "Update"
                           for m in sqs.receive_message(QueueUrl=url).get("Messages", [])))
    logs = aws.client("logs", REGION)
    group = eventually(lambda: [g["logGroupName"] for g in logs.describe_log_groups()["logGroups"]
                                if "Digest" in g["logGroupName"]])[0]
    eventually(lambda: [e for e in logs.filter_log_events(logGroupName=group)["events"]
                        if "switch is off" in e["message"]])


def test_the_weekly_schedule_starts_the_machine_by_its_own_role(aws: EmbeddedAws, notes: StackResult) -> None:
    aws.local("POST", "schedules", {"name": "notes-weekly"})
    s3 = aws.client("s3", REGION)
    eventually(lambda: s3.list_objects_v2(Bucket=notes.outputs["BucketName"], Prefix="notes/weekly").get("Contents"))


def test_a_second_deploy_changes_what_changed_and_keeps_the_switch(
        aws: EmbeddedAws, notes: StackResult, assemblies: dict[str, Path]) -> None:
    assert deploy(assemblies["first"], endpoint_url=aws.endpoint_url)[0].status == "UNCHANGED"
    aws.client("ssm", REGION).put_parameter(Name="/notes/switch", Value="off", Overwrite=True)
    aws.client("dynamodb", REGION).put_item(TableName=notes.outputs["TableName"], Item={"note": {"S": "stays"}})
    changed = deploy(assemblies["second"], endpoint_url=aws.endpoint_url)[0]
    assert changed.status == "UPDATE_COMPLETE"
    assert changed.outputs == notes.outputs
    assert aws.client("ssm", REGION).get_parameter(Name="/notes/switch")["Parameter"]["Value"] == "off"
    alarm = aws.client("cloudwatch", REGION).describe_alarms(AlarmNames=["notes-lost"])["MetricAlarms"][0]
    assert alarm["Threshold"] == 5
    definition = aws.client("stepfunctions", REGION).describe_state_machine(
        stateMachineArn=notes.outputs["MachineArn"])
    assert json.loads(definition["definition"])["Comment"] == "second"
    assert "Item" in aws.client("dynamodb", REGION).get_item(
        TableName=notes.outputs["TableName"], Key={"note": {"S": "stays"}})


def test_a_stack_that_fails_is_reported_by_resource_type_and_reason(aws: EmbeddedAws, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps({"artifacts": {"Bad": {
        "type": "aws:cloudformation:stack", "environment": "aws://unknown-account/eu-west-1",
        "properties": {"templateFile": "bad.json", "stackName": "BadStack"}}}}))
    (tmp_path / "bad.json").write_text(json.dumps({"Resources": {
        "Odd": {"Type": "AWS::Logs::QueryDefinition", "Properties": {"Name": "q", "Colour": "red"}}}}))
    with pytest.raises(DeployError, match=r"BadStack .*Odd \(AWS::Logs::QueryDefinition\): .*Colour is not supported"):
        deploy(tmp_path, endpoint_url=aws.endpoint_url)


def test_a_folder_without_an_assembly_is_refused(aws: EmbeddedAws, tmp_path: Path) -> None:
    with pytest.raises(DeployError, match=r"manifest\.json is missing"):
        deploy(tmp_path, endpoint_url=aws.endpoint_url)

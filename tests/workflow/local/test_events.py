"""Alarms, parameter changes, rules and schedules."""

import json
import time
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from local.events import metric_math
from tests.support.embedded import EmbeddedAws, eventually, unique


def alarm(aws: EmbeddedAws, **settings: Any) -> str:
    name = unique("alarm")
    metric = {} if "Metrics" in settings else {
        "Namespace": "Test", "MetricName": "Level", "Statistic": "Maximum", "Period": 60,
        "Dimensions": [{"Name": "Alarm", "Value": name}]}
    aws.client("cloudwatch").put_metric_alarm(**{
        "AlarmName": name, "EvaluationPeriods": 1, "Threshold": 10, "ComparisonOperator": "GreaterThanThreshold",
        **metric, **settings})
    return name


def put(aws: EmbeddedAws, name: str, value: float) -> None:
    aws.client("cloudwatch").put_metric_data(Namespace="Test", MetricData=[
        {"MetricName": "Level", "Value": value, "Dimensions": [{"Name": "Alarm", "Value": name}]}])


def arn_of(aws: EmbeddedAws, queue: str) -> str:
    found = aws.client("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])
    return str(found["Attributes"]["QueueArn"])


def state(aws: EmbeddedAws, name: str) -> str:
    return str(aws.client("cloudwatch").describe_alarms(AlarmNames=[name])["MetricAlarms"][0]["StateValue"])


@pytest.mark.surface("AWS::CloudWatch::Alarm")
def test_an_alarm_goes_off_by_its_own_dimensions_and_back(aws: EmbeddedAws) -> None:
    name, other = alarm(aws, TreatMissingData="notBreaching"), alarm(aws, TreatMissingData="notBreaching")
    put(aws, name, 50)
    eventually(lambda: state(aws, name) == "ALARM")
    assert state(aws, other) != "ALARM"
    eventually(lambda: state(aws, name) == "OK")  # a minute later there is no data, which is not breaching


@pytest.mark.surface("AWS::CloudWatch::Alarm")
@pytest.mark.parametrize(("missing", "expected"), [
    ("notBreaching", "OK"), ("breaching", "ALARM"), ("missing", "INSUFFICIENT_DATA"), ("ignore", "INSUFFICIENT_DATA")])
def test_missing_data_is_treated_as_the_alarm_says(aws: EmbeddedAws, missing: str, expected: str) -> None:
    name = alarm(aws, TreatMissingData=missing)
    eventually(lambda: state(aws, name) == expected)
    time.sleep(1.2)  # two evaluations
    assert state(aws, name) == expected


@pytest.mark.surface("AWS::CloudWatch::Alarm")
def test_an_alarm_needs_m_of_n_windows(aws: EmbeddedAws) -> None:
    name = alarm(aws, EvaluationPeriods=5, DatapointsToAlarm=2, Period=120, TreatMissingData="notBreaching")
    put(aws, name, 50)
    eventually(lambda: state(aws, name) == "OK")
    time.sleep(1)
    assert state(aws, name) == "OK", "one window is not enough"
    for _ in range(3):
        put(aws, name, 50)
        time.sleep(1)
    eventually(lambda: state(aws, name) == "ALARM")


@pytest.mark.surface("CloudWatch metric math in alarms")
def test_an_alarm_computes_with_metric_math(aws: EmbeddedAws) -> None:
    def query(query_id: str, metric: str) -> dict[str, Any]:
        return {"Id": query_id, "ReturnData": False, "MetricStat": {
            "Metric": {"Namespace": "Math", "MetricName": metric}, "Period": 60, "Stat": "Sum"}}

    name = alarm(aws, Threshold=0.5, Metrics=[
        query("bad", "Bad"), query("all", "All"), {"Id": "share", "Expression": "IF(all > 3, bad / all, 0)"}])
    aws.client("cloudwatch").put_metric_data(Namespace="Math", MetricData=[
        {"MetricName": "Bad", "Value": 4}, {"MetricName": "All", "Value": 5}])
    eventually(lambda: state(aws, name) == "ALARM")


def test_metric_math_refuses_what_it_does_not_know() -> None:
    with pytest.raises(metric_math.UnsupportedExpression, match="ANOMALY_DETECTION_BAND"):
        metric_math.check("ANOMALY_DETECTION_BAND(m1, 2)")
    assert metric_math.evaluate("FILL(a, 0) + b", {"a": [1.0, None], "b": [2.0, 3.0]}) == [3.0, 3.0]
    assert metric_math.evaluate("a / b", {"a": [1.0, 2.0], "b": [0.0, 4.0]}) == [None, 0.5]
    assert metric_math.evaluate("SUM(METRICS())", {"a": [1.0, None], "b": [2.0, 3.0]}) == [3.0, 3.0]


@pytest.mark.surface("EventBridge: aws.cloudwatch")
def test_an_alarms_change_reaches_eventbridge_and_sns(aws: EmbeddedAws) -> None:
    queue = aws.client("sqs").create_queue(QueueName=unique("queue"))["QueueUrl"]
    queue_arn = arn_of(aws, queue)
    topic = aws.client("sns").create_topic(Name=unique("topic"))["TopicArn"]
    aws.client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue_arn,
                                Attributes={"RawMessageDelivery": "true"})
    aws.client("sqs").set_queue_attributes(QueueUrl=queue, Attributes={"Policy": json.dumps({
        "Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"},
                                                "Action": "sqs:SendMessage", "Resource": queue_arn}]})})
    name = alarm(aws, AlarmActions=[topic])
    came = aws.events_queue({"source": ["aws.cloudwatch"], "detail": {"alarmName": [name]}})
    aws.client("cloudwatch").set_alarm_state(AlarmName=name, StateValue="ALARM", StateReason="by hand")
    event = eventually(came)[0]
    assert event["detail-type"] == "CloudWatch Alarm State Change"
    assert event["detail"]["state"]["value"] == "ALARM"
    assert event["detail"]["previousState"]["value"] == "INSUFFICIENT_DATA"
    message = eventually(lambda: aws.messages(queue))[0]
    assert (message["AlarmName"], message["NewStateValue"]) == (name, "ALARM")


@pytest.mark.surface("AWS::CloudWatch::CompositeAlarm")
def test_a_composite_alarm_follows_its_children(aws: EmbeddedAws) -> None:
    child, parent = alarm(aws), unique("composite")
    aws.client("cloudwatch").put_composite_alarm(AlarmName=parent, AlarmRule=f'ALARM("{child}")')
    came = aws.events_queue({"source": ["aws.cloudwatch"], "detail": {"alarmName": [parent]}})
    aws.client("cloudwatch").set_alarm_state(AlarmName=child, StateValue="ALARM", StateReason="by hand")
    assert eventually(came)[0]["detail"]["state"]["value"] == "ALARM"


@pytest.mark.surface("EventBridge: aws.ssm")
def test_parameter_writes_reach_eventbridge(aws: EmbeddedAws) -> None:
    name = f"/{unique('flag')}"
    came = aws.events_queue({"source": ["aws.ssm"], "detail": {"name": [name]}})
    aws.client("ssm").put_parameter(Name=name, Value="true", Type="String")
    aws.client("ssm").put_parameter(Name=name, Value="false", Type="String", Overwrite=True)
    aws.client("ssm").delete_parameter(Name=name)
    events: list[dict[str, Any]] = []

    def all_came() -> bool:
        events.extend(came())
        return len(events) == 3

    eventually(all_came)
    assert [e["detail"]["operation"] for e in events] == ["Create", "Update", "Delete"]
    assert events[0]["detail"]["type"] == "String"


@pytest.mark.surface("AWS::SSM::Parameter")
def test_a_value_outside_the_allowed_pattern_is_refused(aws: EmbeddedAws) -> None:
    client = aws.client("ssm")
    with pytest.raises(client.exceptions.ParameterPatternMismatchException):
        client.put_parameter(Name=f"/{unique('flag')}", Value="maybe", Type="String", AllowedPattern="^(true|false)$")


def rule_to(aws: EmbeddedAws, target: dict[str, Any]) -> str:
    source = unique("source")
    rule = unique("rule")
    aws.client("events").put_rule(Name=rule, EventPattern=json.dumps({"source": [source]}))
    aws.client("events").put_targets(Rule=rule, Targets=[{"Id": "t", **target}])
    return source


def send(aws: EmbeddedAws, source: str, detail: dict[str, Any]) -> None:
    aws.client("events").put_events(Entries=[{"Source": source, "DetailType": "Sold", "Detail": json.dumps(detail)}])


def executions(aws: EmbeddedAws, machine: str) -> list[Any]:
    return list(aws.client("stepfunctions").list_executions(stateMachineArn=machine)["executions"])


@pytest.mark.surface("AWS::Events::Rule -> Step Functions")
def test_a_rule_starts_a_state_machine_with_a_transformed_input(aws: EmbeddedAws) -> None:
    machine = aws.machine({"A": {"Type": "Pass", "End": True}})
    source = rule_to(aws, {
        "Arn": machine, "RoleArn": aws.role("events.amazonaws.com", ("states:StartExecution", machine)),
        "InputTransformer": {"InputPathsMap": {"n": "$.detail.n"},
                             "InputTemplate": '{"number": <n>, "text": "n is <n>"}'}})
    send(aws, source, {"n": 7})
    found = eventually(lambda: executions(aws, machine))
    assert aws.ended(found[0]["executionArn"])["output"] == {"number": 7, "text": "n is 7"}


@pytest.mark.surface("iam: a rule's role")
def test_a_rule_whose_role_lacks_the_grant_delivers_nothing_but_to_the_dead_letter_queue(aws: EmbeddedAws) -> None:
    machine = aws.machine({"A": {"Type": "Pass", "End": True}})
    letters = aws.client("sqs").create_queue(QueueName=unique("letters"))["QueueUrl"]
    source = rule_to(aws, {"Arn": machine, "DeadLetterConfig": {"Arn": arn_of(aws, letters)},
                           "RoleArn": aws.role("events.amazonaws.com", ("states:StartExecution", machine + "-other"))})
    send(aws, source, {})
    assert "is not allowed states:StartExecution" in eventually(lambda: aws.messages(letters))[0]["reason"]
    assert executions(aws, machine) == []


@pytest.mark.surface("AWS::Lambda::Permission")
def test_a_rule_calls_a_function_only_with_its_permission(aws: EmbeddedAws) -> None:
    bucket = unique("bucket")
    aws.client("s3").create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": aws.region})
    code = ("import boto3, json\ndef handler(event, context): boto3.client('s3').put_object("
            f"Bucket='{bucket}', Key=str(event['detail']['n']), Body=json.dumps(event))")
    function = aws.function(code, ("s3:PutObject", "*"))
    source = rule_to(aws, {"Arn": function})
    send(aws, source, {"n": 1})
    aws.client("lambda").add_permission(FunctionName=function, StatementId="rule", Action="lambda:InvokeFunction",
                                        Principal="events.amazonaws.com")
    send(aws, source, {"n": 2})
    keys = eventually(lambda: [o["Key"] for o in aws.client("s3").list_objects_v2(Bucket=bucket).get("Contents", [])])
    assert keys == ["2"]


@pytest.mark.surface("AWS::Scheduler::Schedule")
def test_a_schedule_fires_on_the_fast_clock_and_out_of_turn(aws: EmbeddedAws) -> None:
    machine = aws.machine({"A": {"Type": "Pass", "End": True}})
    role = aws.role("scheduler.amazonaws.com", ("states:StartExecution", machine))
    weekly = unique("weekly")
    for name, expression in ((unique("often"), "rate(1 minute)"), (weekly, "cron(0 3 ? * FRI *)")):
        aws.client("scheduler").create_schedule(
            Name=name, ScheduleExpression=expression, ScheduleExpressionTimezone="Asia/Tokyo",
            FlexibleTimeWindow={"Mode": "OFF"},
            Target={"Arn": machine, "RoleArn": role, "Input": json.dumps({"name": name})})
    found = eventually(lambda: executions(aws, machine))
    assert aws.ended(found[-1]["executionArn"])["output"]["name"].startswith("often")
    aws.local("POST", "schedules", {"name": weekly})
    eventually(lambda: {"name": weekly} in [aws.ended(e["executionArn"])["output"] for e in executions(aws, machine)])


@pytest.mark.surface("AWS::Scheduler::Schedule")
def test_a_schedules_cron_is_read_in_its_own_time_zone() -> None:
    import datetime

    from local.events.schedules import next_cron

    monday = datetime.datetime(2026, 11, 23, tzinfo=datetime.UTC).timestamp()
    found = next_cron("cron(0 3 ? * FRI *)", ZoneInfo("Asia/Tokyo"), monday)
    assert found is not None
    assert found.astimezone(datetime.UTC) == datetime.datetime(2026, 11, 26, 18, tzinfo=datetime.UTC)

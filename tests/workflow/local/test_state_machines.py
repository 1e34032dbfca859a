"""Step Functions: what moto's interpreter got wrong, and what a state machine sees of AWS."""

import json
import time
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.support.embedded import EmbeddedAws, eventually, unique

pytestmark = pytest.mark.surface("AWS::StepFunctions::StateMachine")
SDK = "arn:aws:states:::aws-sdk"


def passing(aws: EmbeddedAws, parameters: dict[str, Any], event: Any) -> Any:
    machine = aws.machine({"Only": {"Type": "Pass", "Parameters": parameters, "End": True}})
    return aws.run(machine, event)["output"]


@pytest.mark.surface("ASL: reference paths")
def test_a_definite_path_gives_a_value_and_an_indefinite_one_a_list(aws: EmbeddedAws) -> None:
    event = {"a": [{"b": 1}, {"b": 2}, {"b": 3}]}
    paths = {"first": "$.a[0].b", "last": "$.a[-1].b", "all": "$.a[*].b", "slice": "$.a[0:2].b",
             "filter": "$.a[?(@.b > 1)].b", "none": "$.a[?(@.b > 9)].b"}
    assert passing(aws, {f"{k}.$": p for k, p in paths.items()}, event) == {
        "first": 1, "last": 3, "all": [1, 2, 3], "slice": [1, 2], "filter": [2, 3], "none": []}


@pytest.mark.surface("ASL: reference paths")
def test_a_missing_path_fails_the_execution(aws: EmbeddedAws) -> None:
    machine = aws.machine({"Only": {"Type": "Pass", "Parameters": {"x.$": "$.missing"}, "End": True}})
    ended = aws.run(machine, {"a": 1})
    assert ended["status"] == "FAILED"
    assert ended["error"] == "States.Runtime"
    assert "$.missing" in ended["cause"]


@pytest.mark.surface("ASL: context object")
def test_the_context_object_carries_times_as_text(aws: EmbeddedAws) -> None:
    found = passing(aws, {"start.$": "$$.Execution.StartTime", "name.$": "$$.Execution.Name",
                          "machine.$": "$$.StateMachine.Name"}, {})
    assert found["start"].endswith("Z")
    assert found["start"][:4].isdigit()


@pytest.mark.surface("ASL: intrinsic functions")
def test_intrinsic_functions_compute(aws: EmbeddedAws) -> None:
    found = passing(aws, {"text.$": "States.Format('{}-{}', $.a, $.b)", "sum.$": "States.MathAdd($.b, 1)",
                          "json.$": "States.StringToJson($.c)", "has.$": "States.ArrayContains($.d, 2)"},
                    {"a": "x", "b": 4, "c": '{"k": 1}', "d": [1, 2]})
    assert found == {"text": "x-4", "sum": 5, "json": {"k": 1}, "has": True}


@pytest.mark.surface("ASL: JSONata")
def test_jsonata_expressions_compute(aws: EmbeddedAws) -> None:
    machine = aws.machine({
        "Sum": {"Type": "Pass", "Output": {"total": "{% $sum($states.input.prices) %}",
                                           "parts": "{% $partition([1,2,3], 2) %}"}, "Next": "Name"},
        "Name": {"Type": "Pass", "Assign": {"who": "ann"}, "Next": "Greet"},
        "Greet": {"Type": "Pass", "Output": "{% 'hello ' & $who & ' ' & $string($states.input.total) %}", "End": True},
    }, QueryLanguage="JSONata")
    assert aws.run(machine, {"prices": [1, 2, 3.5]})["output"] == "hello ann 6.5"


@pytest.mark.surface("ASL: aws-sdk integrations")
def test_sdk_results_have_pascal_case_names_and_times_as_text(aws: EmbeddedAws) -> None:
    aws.client("ssm").put_parameter(Name="/sdk/one", Value="v", Type="String")
    machine = aws.machine({
        "Read": {"Type": "Task", "Resource": f"{SDK}:ssm:getParameter", "Parameters": {"Name": "/sdk/one"},
                 "ResultPath": "$.parameter", "Next": "List"},
        "List": {"Type": "Task", "Resource": f"{SDK}:sfn:listStateMachines", "Parameters": {"MaxResults": 1},
                 "ResultPath": "$.machines", "End": True},
    }, ("ssm:GetParameter", "*"), ("states:ListStateMachines", "*"))
    output = aws.run(machine)["output"]
    assert output["parameter"]["Parameter"]["Value"] == "v"
    assert output["parameter"]["Parameter"]["Arn"].endswith("/sdk/one")
    assert output["parameter"]["Parameter"]["LastModifiedDate"].endswith("Z")
    assert set(output["machines"]["StateMachines"][0]) >= {"StateMachineArn", "Name", "CreationDate"}


@pytest.mark.surface("ASL: error names")
@pytest.mark.parametrize(("resource", "parameters", "grant", "error"), [
    (f"{SDK}:ssm:getParameter", {"Name": "/no/such"}, "ssm:GetParameter", "Ssm.ParameterNotFoundException"),
    (f"{SDK}:s3:getObject", {"Bucket": "no-such-bucket-here", "Key": "k"}, "s3:*", "S3.NoSuchBucketException"),
    (f"{SDK}:dynamodb:getItem", {"TableName": "none", "Key": {"k": {"S": "v"}}}, "dynamodb:*",
     "DynamoDb.ResourceNotFoundException"),
    ("arn:aws:states:::lambda:invoke", {"FunctionName": "no-such-function"}, "lambda:*",
     "Lambda.ResourceNotFoundException"),
    ("arn:aws:states:::lambda:invoke", {"FunctionName": "no-such-function"}, "ssm:GetParameter",
     "Lambda.AWSLambdaException"),
    ("arn:aws:states:::states:startExecution",
     {"StateMachineArn": "arn:aws:states:ap-northeast-1:000000000000:stateMachine:none"}, "states:*",
     "StepFunctions.StateMachineDoesNotExistException"),
    (f"{SDK}:ssm:getParameter", {"Nmae": "/x"}, "ssm:*", "States.Runtime"),
])
def test_errors_have_awss_names(aws: EmbeddedAws, resource: str, parameters: dict[str, Any], grant: str,
                                error: str) -> None:
    machine = aws.machine({"Call": {"Type": "Task", "Resource": resource, "Parameters": parameters, "End": True}},
                          (grant, "*"))
    ended = aws.run(machine)
    assert ended["status"] == "FAILED"
    assert ended["error"] == error


@pytest.mark.surface("iam: a state machine's role")
def test_a_call_beyond_the_machines_role_is_denied(aws: EmbeddedAws) -> None:
    aws.client("ssm").put_parameter(Name="/closed/one", Value="v", Type="String")
    read = {"Call": {"Type": "Task", "Resource": f"{SDK}:ssm:getParameter", "Parameters": {"Name": "/closed/one"},
                     "End": True}}
    ended = aws.run(aws.machine(read, ("ssm:GetParameter", "arn:aws:ssm:*:*:parameter/open/*")))
    assert ended["status"] == "FAILED"
    assert ended["error"] == "Ssm.AccessDeniedException", ended["cause"]
    assert "not authorized" in ended["cause"]
    assert aws.run(aws.machine(read, ("ssm:GetParameter", "*")))["status"] == "SUCCEEDED"


@pytest.mark.surface("iam: trust policies")
def test_a_role_that_does_not_trust_step_functions_is_refused(aws: EmbeddedAws) -> None:
    with pytest.raises(ClientError, match="authorized to assume"):
        aws.client("stepfunctions").create_state_machine(
            name=unique("machine"), roleArn=aws.role("lambda.amazonaws.com"),
            definition=json.dumps({"StartAt": "A", "States": {"A": {"Type": "Succeed"}}}))


@pytest.mark.surface("ASL: lambda:invoke")
def test_a_lambda_exception_is_caught_by_its_class_name(aws: EmbeddedAws) -> None:
    function = aws.function("class Sold(Exception): pass\ndef handler(event, context): raise Sold('out')")
    machine = aws.machine({
        "Call": {"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke",
                 "Parameters": {"FunctionName": function, "Payload.$": "$"},
                 "Catch": [{"ErrorEquals": ["Sold"], "ResultPath": "$.error", "Next": "Caught"}], "End": True},
        "Caught": {"Type": "Pass", "End": True},
    }, ("lambda:InvokeFunction", "*"))
    output = aws.run(machine, {"n": 1})["output"]
    assert output["error"]["Error"] == "Sold"
    assert json.loads(output["error"]["Cause"])["errorMessage"] == "out"


@pytest.mark.surface("ASL: Retry")
def test_a_retry_backs_off_on_the_fast_clock(aws: EmbeddedAws) -> None:
    code = """
calls = []
def handler(event, context):
    calls.append(1)
    if len(calls) < 3:
        raise ValueError(len(calls))
    return len(calls)
"""
    machine = aws.machine({"Call": {
        "Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "OutputPath": "$.Payload",
        "Parameters": {"FunctionName": aws.function(code)},
        "Retry": [{"ErrorEquals": ["ValueError"], "IntervalSeconds": 30, "MaxAttempts": 3, "BackoffRate": 2}],
        "End": True}}, ("lambda:InvokeFunction", "*"))
    assert aws.run(machine)["output"] == 3


@pytest.mark.surface("ASL: Wait")
def test_waits_pass_on_the_fast_clock(aws: EmbeddedAws) -> None:
    machine = aws.machine({"Wait": {"Type": "Wait", "SecondsPath": "$.s", "Next": "Done"}, "Done": {"Type": "Succeed"}})
    begin = time.monotonic()
    assert aws.run(machine, {"s": 120})["status"] == "SUCCEEDED"
    assert 1.9 < time.monotonic() - begin < 60, "120 s on a clock sixty times faster are 2 s"


@pytest.mark.surface("ASL: TimeoutSeconds")
def test_a_task_over_its_timeout_ends_as_states_timeout(aws: EmbeddedAws) -> None:
    function = aws.function("import time\ndef handler(event, context): time.sleep(4)")
    machine = aws.machine({
        "Call": {"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "TimeoutSeconds": 1,
                 "Parameters": {"FunctionName": function},
                 "Catch": [{"ErrorEquals": ["States.Timeout"], "Next": "Late"}], "End": True},
        "Late": {"Type": "Pass", "Result": "late", "End": True}}, ("lambda:InvokeFunction", "*"))
    assert aws.run(machine)["output"] == "late"


@pytest.mark.surface("ASL: TimeoutSeconds")
def test_an_execution_over_its_timeout_ends_as_timed_out(aws: EmbeddedAws) -> None:
    machine = aws.machine({"Wait": {"Type": "Wait", "Seconds": 3600, "End": True}}, TimeoutSeconds=1)
    ended = aws.run(machine)
    assert ended["status"] == "TIMED_OUT"
    events = aws.client("stepfunctions").get_execution_history(executionArn=ended["executionArn"])["events"]
    assert events[-1]["type"] == "ExecutionTimedOut"


@pytest.mark.surface("states:StopExecution")
def test_a_stopped_execution_ends_at_once_and_writes_no_more(aws: EmbeddedAws) -> None:
    client = aws.client("stepfunctions")
    function = aws.function("import time\ndef handler(event, context): time.sleep(3)")
    machine = aws.machine({"Call": {"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke",
                                    "Parameters": {"FunctionName": function}, "End": True}},
                          ("lambda:InvokeFunction", "*"))
    arn = client.start_execution(stateMachineArn=machine)["executionArn"]
    eventually(lambda: len(client.get_execution_history(executionArn=arn)["events"]) >= 4)
    client.stop_execution(executionArn=arn, error="Enough", cause="because")
    found = client.describe_execution(executionArn=arn)
    assert (found["status"], found["error"], found["cause"]) == ("ABORTED", "Enough", "because")
    events = client.get_execution_history(executionArn=arn)["events"]
    assert events[-1]["type"] == "ExecutionAborted"


@pytest.mark.surface("states:StartExecution")
def test_starting_twice_by_one_name_and_input_is_one_execution(aws: EmbeddedAws) -> None:
    client = aws.client("stepfunctions")
    machine = aws.machine({"Wait": {"Type": "Wait", "Seconds": 120, "End": True}})
    first, again = (client.start_execution(stateMachineArn=machine, name="one", input='{"a": 1}') for _ in range(2))
    assert first["executionArn"] == again["executionArn"]
    with pytest.raises(client.exceptions.ExecutionAlreadyExists):
        client.start_execution(stateMachineArn=machine, name="one", input='{"a": 2}')
    aws.ended(first["executionArn"])
    with pytest.raises(client.exceptions.ExecutionAlreadyExists):
        client.start_execution(stateMachineArn=machine, name="one", input='{"a": 1}')
    with pytest.raises(client.exceptions.InvalidName):
        client.start_execution(stateMachineArn=machine, name="a b")


@pytest.mark.surface("states:GetExecutionHistory")
def test_the_history_names_every_state(aws: EmbeddedAws) -> None:
    machine = aws.machine({"First": {"Type": "Pass", "Next": "Second"}, "Second": {"Type": "Succeed"}})
    arn = aws.run(machine)["executionArn"]
    events = aws.client("stepfunctions").get_execution_history(executionArn=arn)["events"]
    assert [e["id"] for e in events] == list(range(1, len(events) + 1))
    assert [e["stateEnteredEventDetails"]["name"] for e in events if "stateEnteredEventDetails" in e] == [
        "First", "Second"]


@pytest.mark.surface("ASL: states:startExecution.sync:2")
def test_a_child_execution_gives_its_output_parsed_and_its_failure_as_task_failed(aws: EmbeddedAws) -> None:
    child = aws.machine({"C": {"Type": "Choice", "Choices": [
        {"Variable": "$.ok", "BooleanEquals": False, "Next": "Bad"}], "Default": "Good"},
        "Good": {"Type": "Pass", "Result": {"n": 1}, "End": True},
        "Bad": {"Type": "Fail", "Error": "Oh", "Cause": "no"}})
    parent = aws.machine({
        "Run": {"Type": "Task", "Resource": "arn:aws:states:::states:startExecution.sync:2",
                "Parameters": {"StateMachineArn": child, "Input.$": "$", "Name.$": "$$.Execution.Name"},
                "Catch": [{"ErrorEquals": ["States.TaskFailed"], "Next": "Caught"}], "End": True},
        "Caught": {"Type": "Pass", "End": True},
    }, ("states:*", "*"), ("events:*", "*"))
    output = aws.run(parent, {"ok": True})["output"]
    assert output["Output"] == {"n": 1}
    assert output["Status"] == "SUCCEEDED"
    assert isinstance(output["StartDate"], int)
    cause = json.loads(aws.run(parent, {"ok": False})["output"]["Cause"])
    assert (cause["Error"], cause["Status"]) == ("Oh", "FAILED")


@pytest.mark.surface("ASL: dynamodb, sns, sqs, events integrations")
def test_the_optimised_integrations_do_their_work(aws: EmbeddedAws) -> None:
    table, topic = unique("table"), aws.client("sns").create_topic(Name=unique("topic"))["TopicArn"]
    aws.client("dynamodb").create_table(
        TableName=table, BillingMode="PAY_PER_REQUEST", KeySchema=[{"AttributeName": "k", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "k", "AttributeType": "S"}])
    queue = aws.client("sqs").create_queue(QueueName=unique("queue"))["QueueUrl"]
    came = aws.events_queue({"source": ["shop"]})
    states = "arn:aws:states:::"
    machine = aws.machine({
        "Put": {"Type": "Task", "Resource": f"{states}dynamodb:putItem", "ResultPath": None, "Next": "Get",
                "Parameters": {"TableName": table, "Item": {"k": {"S": "a"}, "b": {"BOOL": True}}}},
        "Get": {"Type": "Task", "Resource": f"{states}dynamodb:getItem", "ResultPath": "$.got", "Next": "Sns",
                "Parameters": {"TableName": table, "Key": {"k": {"S": "a"}}}},
        "Sns": {"Type": "Task", "Resource": f"{states}sns:publish", "ResultPath": "$.sns", "Next": "Sqs",
                "Parameters": {"TopicArn": topic, "Message": {"a": 1}}},
        "Sqs": {"Type": "Task", "Resource": f"{states}sqs:sendMessage", "ResultPath": None, "Next": "Events",
                "Parameters": {"QueueUrl": queue, "MessageBody": {"b": 2}}},
        "Events": {"Type": "Task", "Resource": f"{states}events:putEvents", "ResultPath": "$.events", "Next": "Cond",
                   "Parameters": {"Entries": [{"Source": "shop", "DetailType": "Sold", "Detail": {"c": 3}}]}},
        "Cond": {"Type": "Task", "Resource": f"{states}dynamodb:putItem", "End": True,
                 "Parameters": {"TableName": table, "Item": {"k": {"S": "a"}},
                                "ConditionExpression": "attribute_not_exists(k)"},
                 "Catch": [{"ErrorEquals": ["DynamoDB.ConditionalCheckFailedException"], "ResultPath": "$.error",
                            "Next": "There"}]},
        "There": {"Type": "Succeed"},
    }, ("*", "*"))
    ended = aws.run(machine)
    assert ended["status"] == "SUCCEEDED", ended.get("cause")
    assert ended["output"]["got"]["Item"] == {"k": {"S": "a"}, "b": {"BOOL": True}}
    assert ended["output"]["sns"]["MessageId"]
    assert ended["output"]["events"]["FailedEntryCount"] == 0
    assert aws.messages(queue) == [{"b": 2}]
    assert eventually(came)[0]["detail"] == {"c": 3}


@pytest.mark.surface("ASL: Map and Parallel")
def test_maps_and_parallels_run_with_the_fields_that_moto_cannot_parse(aws: EmbeddedAws) -> None:
    inner = {"StartAt": "I", "States": {"I": {"Type": "Pass", "Parameters": {"twice.$": "States.MathAdd($, $)"},
                                              "End": True}}}
    machine = aws.machine({
        "Each": {"Type": "Map", "ItemsPath": "$.items", "MaxConcurrency": 2, "ResultPath": "$.mapped",
                 "ItemProcessor": {"ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "EXPRESS"}, **inner},
                 "ToleratedFailurePercentage": 10, "Next": "Both"},
        "Both": {"Type": "Parallel", "Branches": [
            {"StartAt": "A", "States": {"A": {"Type": "Pass", "Result": 1, "End": True}}},
            {"StartAt": "B", "States": {"B": {"Type": "Pass", "Result": 2, "End": True}}}],
            "ResultPath": "$.both", "End": True}}, ("states:*", "*"))
    ended = aws.run(machine, {"items": [1, 2]})
    assert ended["status"] == "SUCCEEDED", ended.get("cause")
    assert ended["output"]["mapped"] == [{"twice": 2}, {"twice": 4}]
    assert ended["output"]["both"] == [1, 2]


@pytest.mark.surface("ASL: .waitForTaskToken")
def test_a_task_token_brings_the_outcome_in(aws: EmbeddedAws) -> None:
    queue = aws.client("sqs").create_queue(QueueName=unique("queue"))["QueueUrl"]
    machine = aws.machine({"Ask": {
        "Type": "Task", "Resource": "arn:aws:states:::sqs:sendMessage.waitForTaskToken", "End": True,
        "Parameters": {"QueueUrl": queue, "MessageBody": {"token.$": "$$.Task.Token"}}}}, ("sqs:SendMessage", "*"))
    arn = aws.client("stepfunctions").start_execution(stateMachineArn=machine)["executionArn"]
    token = eventually(lambda: aws.messages(queue))[0]["token"]
    aws.client("stepfunctions").send_task_success(taskToken=token, output='{"answer": 42}')
    assert aws.ended(arn)["output"] == {"answer": 42}


@pytest.mark.surface("states:CreateStateMachine")
@pytest.mark.parametrize(("states", "said"), [
    ({"A": {"Type": "Pass", "Next": "Nowhere"}}, "Missing 'Next' target: Nowhere"),
    ({"A": {"Type": "Pass", "End": True}, "B": {"Type": "Succeed"}}, '"B" is not reachable'),
    ({"A": {"Type": "Pass"}}, "exactly one of Next and End"),
    ({"A": {"Type": "Pas", "End": True}}, "Type is 'Pas'"),
])
def test_a_definition_that_cannot_run_is_refused_when_it_is_created(
        aws: EmbeddedAws, states: dict[str, Any], said: str) -> None:
    with pytest.raises(aws.client("stepfunctions").exceptions.InvalidDefinition, match=said):
        aws.machine(states)


@pytest.mark.surface("EventBridge: aws.states")
def test_an_executions_end_reaches_eventbridge(aws: EmbeddedAws) -> None:
    machine = aws.machine({"A": {"Type": "Fail", "Error": "Broken", "Cause": "c"}})
    came = aws.events_queue({"source": ["aws.states"], "detail": {"stateMachineArn": [machine], "status": ["FAILED"]}})
    aws.run(machine)
    assert eventually(came)[0]["detail"]["error"] == "Broken"

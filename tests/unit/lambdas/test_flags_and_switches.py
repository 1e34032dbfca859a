"""Kill switches read through SSM, and the functions that ask for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from botocore.stub import ANY, Stubber

from contracts import naming
from lambdas.drift_trigger.handler import handler as drift_trigger
from lambdas.freeze_guard.handler import handler as freeze_guard
from lambdas.kill_switches.handler import handler as kill_switches
from tests.unit.lambdas.account import STORY, Account, endpoint_answer

FLAGS = (naming.GLOBAL_ML_FREEZE, naming.promotion_flag(STORY), "intent_classifier_prefilter_enabled")
Stub = Callable[[str], Stubber]
Emitted = Callable[[str], list[dict[str, Any]]]


def set_flags(account: Account, *, freeze: str = "false", promotion: str = "true", prefilter: str = "true") -> None:
    for name, value in zip(FLAGS, (freeze, promotion, prefilter), strict=True):
        account.set_flag(name, value)


def test_open_switches_allow_everything(account: Account, context: Any, emitted: Emitted) -> None:
    set_flags(account)
    decision = kill_switches({"story": STORY}, context)
    assert decision["mode"] == "open"
    assert decision["may_promote"] is True
    assert decision["techniques"] == {"intent_classifier_prefilter_enabled": True}
    assert emitted("FlagFallback") == []


def test_a_flag_is_read_afresh_at_every_call(account: Account, context: Any) -> None:
    set_flags(account)
    assert kill_switches({"story": STORY}, context)["mode"] == "open"
    set_flags(account, freeze="true")
    assert kill_switches({"story": STORY}, context)["mode"] == "frozen"
    set_flags(account, promotion="false")
    assert kill_switches({"story": STORY}, context)["mode"] == "promotion_off"


def test_promotion_stays_off_when_ssm_is_unreachable_and_every_fallback_is_counted(
    account: Account, context: Any, stub: Stub, emitted: Emitted
) -> None:
    stub("ssm").add_client_error("get_parameters", "ThrottlingException")
    decision = kill_switches({"story": STORY}, context)
    assert decision["mode"] == "promotion_off"
    assert decision["may_retrain"] is True
    assert decision["fallbacks"] == list(FLAGS)
    assert [(line["Story"], line["Language"], line["Flag"]) for line in emitted("FlagFallback")] \
        == [(STORY, "all", flag) for flag in FLAGS]


def test_one_missing_parameter_falls_back_alone(account: Account, context: Any) -> None:
    set_flags(account)
    account.ssm.delete_parameter(Name=naming.flag_parameter(FLAGS[2]))
    decision = kill_switches({"story": STORY}, context)
    assert decision["fallbacks"] == [FLAGS[2]]
    assert decision["mode"] == "open"


# --- drift trigger ---------------------------------------------------------------


def alarm_event(name: str, value: str = "ALARM") -> dict[str, Any]:
    return {"id": "11111111-2222-3333-4444-555555555555", "detail-type": "CloudWatch Alarm State Change",
            "source": "aws.cloudwatch", "detail": {"alarmName": name, "state": {"value": value}}}


DRIFT_ALARM = naming.drift_alarm(STORY, "input", "ja")


def make_machine(account: Account) -> Any:
    import boto3

    client = boto3.client("stepfunctions")
    client.create_state_machine(
        name=naming.retrain_state_machine(STORY), roleArn="arn:aws:iam::123456789012:role/machine",
        definition='{"StartAt": "A", "States": {"A": {"Type": "Succeed"}}}',
    )
    return client


def test_a_drift_alarm_starts_one_retrain_even_when_it_is_delivered_twice(account: Account, context: Any) -> None:
    set_flags(account)
    machine = make_machine(account)
    first = drift_trigger(alarm_event(DRIFT_ALARM), context)
    second = drift_trigger(alarm_event(DRIFT_ALARM), context)
    assert first == second
    assert first["reason"] == DRIFT_ALARM
    described = machine.describe_execution(executionArn=first["started"])
    assert described["name"] == "drift-11111111-2222-3333-4444-555555555555"
    assert described["input"] == '{"mode": "retrain", "trigger": "drift", "reason": "' + DRIFT_ALARM + '"}'


def test_a_repeat_after_the_execution_ended_names_that_execution(account: Account, context: Any, stub: Stub) -> None:
    set_flags(account)
    stub("stepfunctions").add_client_error("start_execution", "ExecutionAlreadyExists")
    started = drift_trigger(alarm_event(DRIFT_ALARM), context)["started"]
    assert started.endswith(":execution:mangaassist-intent-classifier-retrain:"
                            "drift-11111111-2222-3333-4444-555555555555")


def test_a_start_that_fails_otherwise_is_an_error(account: Account, context: Any, stub: Stub) -> None:
    set_flags(account)
    stub("stepfunctions").add_client_error("start_execution", "StateMachineDoesNotExist")
    with pytest.raises(Exception, match="StateMachineDoesNotExist"):
        drift_trigger(alarm_event(DRIFT_ALARM), context)


def test_drift_is_ignored_and_counted_while_frozen(account: Account, context: Any, emitted: Emitted) -> None:
    set_flags(account, freeze="true")
    assert drift_trigger(alarm_event(DRIFT_ALARM), context) == {"started": None, "reason": "frozen"}
    assert [line["Reason"] for line in emitted("DriftTriggerIgnored")] == ["frozen"]


@pytest.mark.parametrize("event", [
    alarm_event(DRIFT_ALARM, "OK"),
    alarm_event("mangaassist-other-story-drift-input-ja"),
    alarm_event(f"mangaassist-{STORY}-drift-monitor-silent"),
    alarm_event(naming.guardrail_alarm(STORY, "latency")),
    {**alarm_event(DRIFT_ALARM), "detail-type": "Something Else"},
    {"id": "1", "detail-type": "CloudWatch Alarm State Change"},
])
def test_what_is_no_drift_alarm_going_off_starts_nothing(account: Account, context: Any, event: dict[str, Any]) -> None:
    assert drift_trigger(event, context) == {
        "started": None, "reason": "not a drift alarm going off, and nothing is deferred"}


# --- freeze guard -----------------------------------------------------------------


def freeze_event(name: str = naming.flag_parameter(naming.GLOBAL_ML_FREEZE)) -> dict[str, Any]:
    return {"detail-type": "Parameter Store Change", "source": "aws.ssm",
            "detail": {"name": name, "operation": "Update"}}


def test_a_freeze_calls_back_the_canary_in_flight(account: Account, context: Any, stub: Stub) -> None:
    set_flags(account, freeze="true")
    stub("sagemaker").add_response("describe_endpoint", endpoint_answer("Updating", "old", pending="new"))
    stub("cloudwatch").add_response("put_metric_data", {}, {"Namespace": "MangaAssist/ML", "MetricData": [{
        "MetricName": "CanaryAbort", "Value": 1, "Unit": "None",
        "Dimensions": [{"Name": "Story", "Value": STORY}, {"Name": "Language", "Value": "all"}]}]})
    assert freeze_guard(freeze_event(), context) == {"aborted": [STORY]}


def test_a_freeze_leaves_an_endpoint_at_rest_alone(account: Account, context: Any, stub: Stub) -> None:
    set_flags(account, freeze="true")
    stub("sagemaker").add_response("describe_endpoint", endpoint_answer("InService", "old"))
    assert freeze_guard(freeze_event(), context) == {"aborted": []}


def test_a_freeze_before_the_first_endpoint_aborts_nothing(account: Account, context: Any, stub: Stub) -> None:
    set_flags(account, freeze="true")
    stub("sagemaker").add_client_error("describe_endpoint", "ValidationException", "Could not find endpoint")
    assert freeze_guard(freeze_event(), context) == {"aborted": []}


def test_lifting_the_freeze_aborts_nothing(account: Account, context: Any) -> None:
    set_flags(account, freeze="false")
    assert freeze_guard(freeze_event(), context) == {"aborted": []}


def test_a_freeze_that_can_not_be_read_does_not_freeze_but_is_counted(
    account: Account, context: Any, stub: Stub, emitted: Emitted
) -> None:
    stub("ssm").add_client_error("get_parameters", "InternalServerError", expected_params={"Names": ANY})
    assert freeze_guard(freeze_event(), context) == {"aborted": []}
    assert [line["Flag"] for line in emitted("FlagFallback")] == [naming.GLOBAL_ML_FREEZE]


def test_another_parameter_is_none_of_the_guards_business(account: Account, context: Any) -> None:
    assert freeze_guard(freeze_event("/mangaassist/flags/other"), context) == {"aborted": []}


def test_an_endpoint_that_can_not_be_described_is_an_error(account: Account, context: Any, stub: Stub) -> None:
    set_flags(account, freeze="true")
    stub("sagemaker").add_client_error("describe_endpoint", "AccessDeniedException")
    with pytest.raises(Exception, match="AccessDenied"):
        freeze_guard(freeze_event(), context)

"""What state machines, logs and notifications must do, and must not say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.infrastructure.rule_cases import Body, Case, check, machine, task


def _logging(on: bool) -> Body:
    return machine(LoggingConfiguration={"Level": "ALL", "IncludeExecutionData": on})


def _function(**environment: str) -> Body:
    return {"Type": "AWS::Lambda::Function", "Properties": {"Environment": {"Variables": environment}}}


def _notify(message: str) -> Body:
    return machine(states={"Notify": task("arn:aws:states:::sns:publish", Parameters={
        "TopicArn": "${OnCallTopic}", "Message.$": message})})


def _without(*keys: str, **more: Any) -> dict[str, Any]:
    return {key: value for key, value in task(**more).items() if key not in keys}


def _within(inner: dict[str, Any], *, branch: bool) -> Body:
    body = {"StartAt": "Inner", "States": {"Inner": inner}}
    kind = {"Type": "Parallel", "Branches": [body]} if branch else {"Type": "Map", "ItemProcessor": body}
    return machine(states={"Outer": {**_without("Resource"), **kind}})


_FIXED = [{"ErrorEquals": ["States.TaskFailed"], "BackoffRate": 1.0}]
_NEVER = [{"ErrorEquals": ["States.ALL"], "MaxAttempts": 0}]
_SOME = [{"ErrorEquals": ["LeaseLost"], "Next": "Failed"}]

CASES = (
    Case(rule="StateRetryAndCatch",
         passes={"Machine": machine(states={"Do": task(), "Wait": {"Type": "Wait", "Seconds": 5, "Next": "Do"}}),
                 "Map": _within(task(), branch=False), "Parallel": _within(task(), branch=True)},
         breaks={
             r"States\.Do\.Retry: no retry": {"Machine": machine(states={"Do": _without("Retry")})},
             "interval grows": {"Machine": machine(states={"Do": task(Retry=_FIXED)})},
             r"States\.Do\.Retry": {"Machine": machine(states={"Do": task(Retry=_NEVER)})},
             r"States\.Do\.Catch": {"Machine": machine(states={"Do": _without("Catch")})},
             "is not States.ALL": {"Machine": machine(states={"Do": task(Catch=_SOME)})},
             r"States\.Outer\.Inner\.Retry": {"Machine": _within(_without("Retry"), branch=False)},
             r"States\.Outer\.Inner\.Catch": {"Machine": _within(_without("Catch"), branch=True)},
             r"States\.Outer\.Retry": {"Machine": machine(states={"Outer": {
                 "Type": "Parallel", "Branches": [], "Catch": task()["Catch"]}})},
         }),
    Case(rule="NoExecutionDataInLogs", passes={"Machine": _logging(False), "Silent": machine()},
         breaks={"IncludeExecutionData: is true": {"Machine": _logging(True)}}),
    Case(rule="NoPayloadCapture",
         passes={"Function": _function(POWERTOOLS_TRACER_CAPTURE_RESPONSE="false", LOG_LEVEL="INFO")},
         breaks={
             "CAPTURE_RESPONSE: is 'true'": {"Function": _function(POWERTOOLS_TRACER_CAPTURE_RESPONSE="true")},
             "CAPTURE_ERROR: is '1'": {"Function": _function(POWERTOOLS_TRACER_CAPTURE_ERROR="1")},
             "LOG_EVENT: is 'True'": {"Function": _function(POWERTOOLS_LOGGER_LOG_EVENT="True")},
         }),
    Case(rule="NotificationsNameOnly",
         passes={"Machine": _notify("States.Format('{}: {} failed: {}. {}', $.story, $.run_id, $.error.Error, "
                                    "$$.Execution.Id)")},
         breaks={
             "error.Cause": {"Machine": _notify("States.Format('{}: {}', $.story, $.error.Cause)")},
             r"sends '\$'": {"Machine": _notify("States.JsonToString($)")},
             "Execution.Input": {"Machine": _notify("States.JsonToString($$.Execution.Input)")},
             "input.*sends": {"Machine": machine(states={"Notify": task("arn:aws:states:::sns:publish", Parameters={
                 "TopicArn": "${OnCallTopic}", "Message": {"input.$": "$"}})})},
             "errorMessage": {"Machine": _notify("$.error.said.errorMessage")},
         }),
)


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.rule)
def test_the_rule_lets_pass_and_breaks(case: Case, tmp_path: Path) -> None:
    check(case, tmp_path)

"""Alarms have a language, somebody who hears them, and a runbook that exists."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.infrastructure.rule_cases import Body, Case, check

TOPIC: Body = {"Type": "AWS::SNS::Topic", "Properties": {}}
_RUNBOOK = "Runbook: docs/runbooks/drift-input.md"


def _alarm(description: str = f"Drift. {_RUNBOOK}", *, dimensions: dict[str, str] | None = None, **more: Any) -> Body:
    return {"Type": "AWS::CloudWatch::Alarm", "Properties": {
        "AlarmDescription": description, "Namespace": "MangaAssist/ML", "MetricName": "InputPsi",
        "AlarmActions": [{"Ref": "Topic"}],
        "Dimensions": [{"Name": n, "Value": v} for n, v in (dimensions or {"Language": "ja"}).items()], **more}}


def _composite(**properties: Any) -> Body:
    return {"Type": "AWS::CloudWatch::CompositeAlarm", "Properties": {"AlarmRule": "ALARM(a)", **properties}}


CASES = (
    Case(rule="AlarmLanguage",
         passes={"Alarm": _alarm(), "Total": _alarm(dimensions={"Language": "all", "Flag": "global_ml_freeze"}),
                 "Composite": _composite()},
         breaks={
             "InputPsi has no Language": {"Alarm": _alarm(dimensions={"Story": "intent-classifier"})},
             "has the Language 'jp': allowed are en, ja, mixed, all": {"Alarm": _alarm(dimensions={"Language": "jp"})},
         }),
    Case(rule="AlarmOnCall", passes={"Topic": TOPIC, "Alarm": _alarm(),
                                     "Composite": _composite(AlarmActions=[{"Ref": "Topic"}])},
         breaks={
             "no topic": {"Alarm": _alarm(AlarmActions=[])},
             "no topic of this deployment": {"Alarm": _alarm(AlarmActions=["arn:aws:sns:ap-northeast-1:1:elsewhere"])},
             "Composite.*no topic": {"Composite": _composite()},
             "ActionsEnabled: is false": {"Topic": TOPIC, "Alarm": _alarm(ActionsEnabled=False)},
         }),
    Case(rule="AlarmRunbook", passes={"Topic": TOPIC, "Alarm": _alarm()},
         breaks={
             "ends with no runbook": {"Alarm": _alarm("Drift is above its threshold.")},
             "docs/runbooks/drift-of-stars.md does not exist": {
                 "Alarm": _alarm("Drift. Runbook: docs/runbooks/drift-of-stars.md")},
         }),
)


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.rule)
def test_the_rule_lets_pass_and_breaks(case: Case, tmp_path: Path) -> None:
    check(case, tmp_path)

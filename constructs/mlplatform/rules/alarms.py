"""Alarms: stratified by language, heard by on-call, explained by a runbook that is there."""

from __future__ import annotations

import re
from collections.abc import Iterator

from contracts import metrics
from contracts.language import LANGUAGES
from mlplatform.on_call import RUNBOOKS
from mlplatform.rules.rule import Finding, rule
from mlplatform.rules.templates import Deployed
from mlplatform.staging import ROOT

_ALARM, _ANY = "AWS::CloudWatch::Alarm", ("AWS::CloudWatch::Alarm", "AWS::CloudWatch::CompositeAlarm")
_RUNBOOK = re.compile(rf"Runbook: ({re.escape(RUNBOOKS)}/[a-z0-9-]+\.md)$")


@rule("AlarmLanguage", concern="every metric stratified by language (en / ja / mixed)",
      why="an average over languages hides the one that breaks",
      mend="put the metric with the Language dimension (metrics.dimensions) and make an alarm for each; acknowledge "
           "an alarm that is not about requests, or whose metric is AWS's own")
def language(deployed: Deployed) -> Iterator[Finding]:
    allowed = (*LANGUAGES, metrics.LANGUAGE_ALL)
    for alarm in deployed.of_type(_ALARM):
        found = [d["Value"] for d in alarm.get("Dimensions") or [] if d["Name"] == metrics.LANGUAGE]
        if not found or found[0] not in allowed:
            given = f"the {metrics.LANGUAGE} {found[0]!r}" if found else f"no {metrics.LANGUAGE}"
            yield Finding(on=alarm, where="Properties.Dimensions",
                          what=f"{alarm.text('Namespace')} {alarm.text('MetricName')} has {given}: allowed are "
                               f"{', '.join(allowed)}")


@rule("AlarmOnCall", concern="alarms that page, runbooks",
      why="an alarm that nobody hears is a graph",
      mend="make it with on_call.alarm(..., topic_arn=platform.on_call.topic.topic_arn)")
def on_call(deployed: Deployed) -> Iterator[Finding]:
    for alarm in deployed.of_type(*_ANY):
        if alarm.get("ActionsEnabled") is False:
            yield Finding(on=alarm, where="Properties.ActionsEnabled", what="is false")
        heard = [deployed.target(alarm.stack, action) for action in alarm.get("AlarmActions") or []]
        if not any(topic is not None and topic.type == "AWS::SNS::Topic" for topic in heard):
            yield Finding(on=alarm, where="Properties.AlarmActions", what="no topic of this deployment is among them")


@rule("AlarmRunbook", concern="alarms that page, runbooks",
      why="whoever is woken at three needs the page that says what to do, not a metric's name",
      mend=f"end the description with `Runbook: {RUNBOOKS}/NAME.md` (AlarmProps.runbook) and write that page")
def runbook(deployed: Deployed) -> Iterator[Finding]:
    written = {f"{RUNBOOKS}/{page.name}" for page in (ROOT / RUNBOOKS).glob("*.md")}
    for alarm in deployed.of_type(*_ANY):
        named = _RUNBOOK.search(alarm.text("AlarmDescription"))
        if named is None:
            yield Finding(on=alarm, where="Properties.AlarmDescription", what="ends with no runbook")
        elif named.group(1) not in written:
            yield Finding(on=alarm, where="Properties.AlarmDescription", what=f"{named.group(1)} does not exist")

"""Alarms page with a runbook; drift rings per language; events reach exactly what they should."""

from __future__ import annotations

import json
import re

import pytest

from contracts import metrics, naming
from contracts.alarm_budget import alarm_rule
from contracts.language import LANGUAGES
from contracts.serving import ServingSpec
from contracts.stories.intent_classifier import INTENT_CLASSIFIER
from tests.infrastructure.conftest import ROOT, Assembly

_RUNBOOK = re.compile(r"Runbook: (docs/runbooks/[a-z-]+\.md)$")
SLUG = INTENT_CLASSIFIER.slug


def test_every_alarm_pages_on_call_and_names_a_runbook_that_exists(assembly: Assembly) -> None:
    alarms = {f"{deployment}/{id_}": alarm for deployment in ("jp", "us", "eu")
              for id_, alarm in assembly.resources("AWS::CloudWatch::Alarm", deployment=deployment).items()}
    named = set()
    for id_, alarm in alarms.items():
        p = alarm["Properties"]
        assert len(p["AlarmActions"]) == 1, id_
        assert "OnCall" in str(p["AlarmActions"][0]), id_
        match = _RUNBOOK.search(p["AlarmDescription"])
        assert match, f"{id_}: {p['AlarmDescription']}"
        named.add(match.group(1))
    written = {str(p.relative_to(ROOT)) for p in (ROOT / "docs/runbooks").glob("*.md") if p.name != "README.md"}
    assert named == written


def test_drift_rings_per_monitor_and_language(assembly: Assembly) -> None:
    alarms = {a["Properties"]["AlarmName"]: a["Properties"] for a in
              assembly.resources("AWS::CloudWatch::Alarm").values()}
    for monitor in INTENT_CLASSIFIER.monitors:
        for language in LANGUAGES:
            p = alarms[naming.drift_alarm(SLUG, monitor.name, language)]
            assert p["Threshold"] == monitor.threshold
            assert p["ComparisonOperator"] == "GreaterThanThreshold"
            assert {"Name": metrics.LANGUAGE, "Value": language} in p["Dimensions"]
            assert p["Period"] * p["EvaluationPeriods"] <= monitor.detect_within_s


def test_a_shift_that_chance_could_bring_must_be_seen_at_several_looks(assembly: Assembly) -> None:
    alarms = {a["Properties"]["AlarmName"]: a["Properties"] for a in
              assembly.resources("AWS::CloudWatch::Alarm").values()}
    sustained = [m for m in INTENT_CLASSIFIER.monitors if alarm_rule(m).of > 1]
    assert [m.name for m in sustained] == ["input", "prediction"]
    for monitor in sustained:
        for language in LANGUAGES:
            p = alarms[naming.drift_alarm(SLUG, f"{monitor.name}-sustained", language)]
            assert (p["DatapointsToAlarm"], p["EvaluationPeriods"]) == (2, 3)
            assert p["Threshold"] == monitor.threshold
            assert p["Period"] * p["EvaluationPeriods"] <= monitor.detect_within_s


def test_traffic_that_nobody_can_judge_pages_and_does_not_retrain(assembly: Assembly) -> None:
    unjudged = [a["Properties"] for a in assembly.resources("AWS::CloudWatch::Alarm").values()
                if a["Properties"]["MetricName"] == metrics.UNJUDGED_WINDOW]
    assert len(unjudged) == len(LANGUAGES)
    for p in unjudged:
        assert p["Period"] * p["DatapointsToAlarm"] == 86_400
        assert not p["AlarmName"].startswith(naming.drift_alarm(SLUG, "", "").rstrip("-"))


def test_alarms_on_our_metrics_name_the_dimensions_that_functions_put(assembly: Assembly) -> None:
    ours = [a["Properties"] for deployment in ("jp", "us")
            for a in assembly.resources("AWS::CloudWatch::Alarm", deployment=deployment).values()
            if a["Properties"]["Namespace"] == metrics.NAMESPACE]
    assert {p["MetricName"] for p in ours} >= {metrics.RETRAIN_OUTCOME, metrics.INPUT_PSI}
    for p in ours:
        assert tuple(d["Name"] for d in p["Dimensions"]) == metrics.DIMENSIONS[p["MetricName"]]


def test_the_serving_spec_is_read_back_and_its_guardrails_are_alarms(assembly: Assembly) -> None:
    parameters = {r["Properties"]["Name"]: r for r in assembly.resources("AWS::SSM::Parameter").values()}
    value = parameters[naming.serving_spec_parameter(SLUG)]["Properties"]["Value"]
    text = "".join(p if isinstance(p, str) else "token" for p in value["Fn::Join"][1])
    spec = ServingSpec.from_json(text)
    assert len(text) < 3_000, "SSM's standard tier takes 4,096 characters; tokens grow when they are resolved"
    names = {a["Properties"]["AlarmName"] for a in assembly.resources("AWS::CloudWatch::Alarm").values()}
    assert 1 <= len(spec.guardrail_alarms) <= 10
    assert set(spec.guardrail_alarms) <= names
    assert naming.guardrail_alarm(SLUG, "canary-abort") in spec.guardrail_alarms


@pytest.mark.parametrize(("deployment", "expected"), [("jp", 1), ("us", 0), ("eu", 0)])
def test_only_home_answers_a_drift_alarm_with_a_retrain(assembly: Assembly, deployment: str, expected: int) -> None:
    rules = [r["Properties"] for r in assembly.resources("AWS::Events::Rule", deployment=deployment).values()]
    drift = [r for r in rules if r["EventPattern"]["source"] == ["aws.cloudwatch"]]
    assert len(drift) == expected
    for rule in drift:
        prefix = rule["EventPattern"]["detail"]["alarmName"][0]["prefix"]
        assert naming.drift_alarm(SLUG, "input", "en").startswith(prefix)
        assert not naming.guardrail_alarm(SLUG, "errors").startswith(prefix)


def test_a_changed_spec_reconciles_with_a_fixed_input(assembly: Assembly) -> None:
    rules = [r["Properties"] for r in assembly.resources("AWS::Events::Rule").values()]
    (rule,) = [r for r in rules if r["EventPattern"]["detail"].get("name") == [naming.serving_spec_parameter(SLUG)]]
    assert rule["EventPattern"]["detail"]["operation"] == ["Update"]
    assert json.loads(rule["Targets"][0]["Input"]) == {"mode": "reconcile", "trigger": "spec-change"}


def test_every_event_target_has_retries_and_a_dead_letter_queue(assembly: Assembly) -> None:
    targets = [t for r in assembly.resources("AWS::Events::Rule").values() for t in r["Properties"]["Targets"]]
    targets += [s["Properties"]["Target"] for s in assembly.resources("AWS::Scheduler::Schedule").values()]
    assert len(targets) == 9
    for target in targets:
        assert target["DeadLetterConfig"]["Arn"]
        assert target["RetryPolicy"]["MaximumRetryAttempts"] > 0

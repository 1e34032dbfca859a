"""Ends Rejected and NotPromoted: a candidate is trained and judged, and the champion goes on serving."""

from __future__ import annotations

import json

import pytest

from contracts import events, metrics, naming
from contracts.kill_switches import promotion_flag
from tests.support import shop_labels
from tests.support.deployment import FLAGS, SLUG, Deployed

pytestmark = pytest.mark.workflow
PROMOTION = promotion_flag(SLUG).name


def test_a_candidate_of_damaged_labels_is_rejected_by_gates_and_slices_with_names(jp: Deployed) -> None:
    with jp.serving_unchanged(), jp.other_labels(shop_labels.damaged(shop_labels.rows())):
        run = jp.run(reason="labels damaged on purpose")
    assert run.outcome == events.REJECTED, run
    assert "PublishSignedCopy" not in run.states
    told = json.loads(jp.audit(run.name, events.REJECTED)["detail"])["end"]
    assert {"macro_accuracy", "champion_accuracy", "slice_macro_f1[language=ja]"} <= set(told["failed"])
    verdict = jp.evidence(run.name, naming.VERDICT_FILE)
    assert verdict["passed"] is False
    assert verdict["failed"] == told["failed"]


def test_a_good_candidate_is_judged_but_not_promoted_while_promotion_is_off(jp: Deployed) -> None:
    with jp.serving_unchanged(), jp.flag(PROMOTION, False):
        run = jp.run()
    assert run.outcome == events.NOT_PROMOTED, run
    assert "PublishSignedCopy" not in run.states
    assert jp.evidence(run.name, naming.VERDICT_FILE)["passed"] is True
    assert json.loads(jp.audit(run.name, events.NOT_PROMOTED)["detail"])["end"]["reasons"] == [f"{PROMOTION} is off"]
    assert jp.calls("UpdateEndpoint") == []


def test_without_the_parameter_store_nothing_freezes_and_nothing_is_promoted(jp: Deployed) -> None:
    with jp.serving_unchanged(), jp.aws.fault(service="ssm", operation="*", kind="error"):
        run = jp.run()
    assert run.outcome == events.NOT_PROMOTED, run
    assert jp.evidence(run.name, naming.VERDICT_FILE)["passed"] is True
    reasons = json.loads(jp.audit(run.name, events.NOT_PROMOTED)["detail"])["end"]["reasons"]
    assert {reason.split()[0] for reason in reasons[1:]} == set(FLAGS), "each flag that fell back is named"
    shown = jp.aws.client("cloudwatch").list_metrics(Namespace=metrics.NAMESPACE, MetricName=metrics.FLAG_FALLBACK)
    named = {d["Value"] for metric in shown["Metrics"] for d in metric["Dimensions"] if d["Name"] == "Flag"}
    assert named >= set(FLAGS), "each fallback shows in a metric"

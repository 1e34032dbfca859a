"""A guardrail that rings: a release waits for it, going back does not."""

from __future__ import annotations

import pytest

from contracts import metrics, naming
from tests.support.deployment import SLUG, Deployed
from tests.support.deployment_fixtures import Candidate
from tests.support.embedded import eventually

pytestmark = pytest.mark.workflow
ABORT = naming.guardrail_alarm(SLUG, "canary-abort")


def test_a_release_waits_until_an_aborted_canary_no_longer_rings_and_its_undo_does_not(
        jp: Deployed, candidate: Candidate) -> None:
    before = jp.serving()
    abort(jp)
    eventually(lambda: rings(jp), within_s=60)
    arn = jp.start_release(candidate.version)
    eventually(lambda: abort(jp) or waits(jp, arn), within_s=60)
    assert jp.serving() == before, "nothing moves while it rings"
    assert jp.ended(arn)["status"] == "SUCCEEDED", jp.errors(arn)
    assert jp.ask()["model_version"] == candidate.version

    abort(jp)
    eventually(lambda: rings(jp), within_s=60)
    undo = jp.start_release("current", undo=True)
    assert jp.ended(undo)["status"] == "SUCCEEDED", jp.errors(undo)
    assert not waits(jp, undo)
    assert jp.serving() == before


def abort(jp: Deployed) -> None:
    """What the release machine says when a kill switch ends a canary."""
    dimensions = metrics.dimensions(metrics.CANARY_ABORT, story=SLUG)
    jp.aws.client("cloudwatch").put_metric_data(Namespace=metrics.NAMESPACE, MetricData=[{
        "MetricName": metrics.CANARY_ABORT, "Value": 1,
        "Dimensions": [{"Name": name, "Value": value} for name, value in dimensions.items()]}])


def rings(jp: Deployed) -> bool:
    found = jp.aws.client("cloudwatch").describe_alarms(AlarmNames=[ABORT])["MetricAlarms"]
    return str(found[0]["StateValue"]) == "ALARM"


def waits(jp: Deployed, arn: str) -> bool:
    return any(error.startswith("GuardrailRinging") for error in jp.errors(arn))

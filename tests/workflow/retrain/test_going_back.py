"""Ends RolledBack and Reconciled: going back is possible while frozen, and a changed serving spec reaches the fleet."""

from __future__ import annotations

import json

import pytest

from contracts import events
from contracts.kill_switches import GLOBAL_FREEZE
from tests.support.deployment import Deployed

pytestmark = pytest.mark.workflow


def test_a_rollback_returns_to_the_previous_version_even_while_frozen(jp: Deployed) -> None:
    jp.with_previous()
    before = jp.pointer()
    with jp.flag(GLOBAL_FREEZE.name, True):
        run = jp.run(mode="rollback", reason="the new version misbehaves")
    assert run.outcome == events.ROLLED_BACK, run
    after = jp.pointer()
    assert after["version"] == before["previous"]["version"]
    assert after["run_id"] == run.name
    assert jp.ask()["model_version"] == after["version"]
    assert jp.package_status(after["version"]) == "Approved"
    assert jp.package_status(before["version"]) == "Rejected"
    assert json.loads(jp.audit(run.name, "rollback")["detail"])["pointer"]["version"] == after["version"]
    assert jp.audit(run.name, events.ROLLED_BACK)


def test_a_changed_serving_spec_reaches_the_endpoint_without_anybody_starting_it(jp: Deployed) -> None:
    before = jp.serving()
    with jp.changed_spec(min_instances=3) as run:
        assert run.outcome == events.RECONCILED, run
        assert jp.audit(run.name, events.RECONCILED)
        assert jp.pointer() == before.pointer
        assert jp.endpoint().config != before.config
        assert jp.ask()["model_version"] == before.answers_as
        variant = jp.aws.client("sagemaker").describe_endpoint_config(
            EndpointConfigName=jp.endpoint().config)["ProductionVariants"][0]
        assert variant["InitialInstanceCount"] == 3
    assert jp.serving() == before, "the spec put back is reconciled, too"


def test_a_spec_with_which_no_container_starts_ends_as_failed_and_the_old_fleet_serves(jp: Deployed) -> None:
    before = jp.serving()
    with jp.changed_spec(environment={"SM_MODEL_DIR": "/nowhere"}) as run:
        assert run.outcome == events.FAILED, run
        assert json.loads(jp.audit(run.name, events.FAILED)["detail"])["input"]["trigger"] == "spec-change"
        assert "RollBackServing" in run.states
        assert jp.serving() == before
    assert jp.serving() == before

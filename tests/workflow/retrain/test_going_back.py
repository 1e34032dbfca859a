"""Ends RolledBack and Reconciled: going back is possible while frozen, and a changed serving spec reaches the fleet."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from contracts import events, naming
from contracts.kill_switches import GLOBAL_FREEZE
from tests.support.deployment import SLUG, Deployed, Run
from tests.support.embedded import eventually

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
    with changed_spec(jp, min_instances=3) as run:
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
    with changed_spec(jp, environment={"SM_MODEL_DIR": "/nowhere"}) as run:
        assert run.outcome == events.FAILED, run
        assert json.loads(jp.audit(run.name, events.FAILED)["detail"])["input"]["trigger"] == "spec-change"
        assert jp.serving() == before
    assert jp.serving() == before


@contextmanager
def changed_spec(jp: Deployed, **changes: Any) -> Iterator[Run]:
    """The run that the parameter's change starts by itself; afterwards the old spec again, and its run."""
    name, ssm = naming.serving_spec_parameter(SLUG), jp.aws.client("ssm")
    old = ssm.get_parameter(Name=name)["Parameter"]["Value"]

    def put(value: str) -> Run:
        known = jp.runs()
        ssm.put_parameter(Name=name, Value=value, Type="String", Overwrite=True)
        new = eventually(lambda: jp.runs().keys() - known.keys(), within_s=60)
        assert len(new) == 1
        return jp.finish(jp.runs()[new.pop()])

    try:
        yield put(json.dumps({**json.loads(old), **changes}, sort_keys=True, separators=(",", ":")))
    finally:
        put(old)

"""A canary beside the champion, under live traffic: the one that is worse goes, by itself, and says why."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from contracts import events, naming
from tests.support.deployment import ENDPOINT, PATIENCE_S, SLUG, Deployed, Run
from tests.support.embedded import eventually

pytestmark = pytest.mark.workflow
CALLERS = 3
LATENCY = naming.guardrail_alarm(SLUG, "latency")
PATIENT = {"percent": 50, "bake_s": 2_400, "termination_wait_s": 0, "routing": "CANARY"}  # 8 s on the tests' clock


@contextmanager
def live_traffic(jp: Deployed) -> Iterator[None]:
    """Questions without a pause while the block runs; a caller that gets no answer asks again."""
    over = threading.Event()

    def ask() -> None:
        runtime = jp.aws.client("sagemaker-runtime")
        while not over.is_set():
            try:
                runtime.invoke_endpoint(EndpointName=ENDPOINT, ContentType="application/json",
                                        Body=json.dumps({"text": "please order the volume"}).encode())
            except (ClientError, BotoCoreError):
                continue

    callers = [threading.Thread(target=ask) for _ in range(CALLERS)]
    for caller in callers:
        caller.start()
    try:
        yield
    finally:
        over.set()
        for caller in callers:
            caller.join()


def run_in_live_traffic(jp: Deployed, reason: str) -> Run:
    """A run whose canary gets half of the traffic and a long bake, so that a busy machine answers often enough.

    It has no shadow, which would find first what the canary is to find. The run holds the lease, so the changed spec
    moves nothing by itself, and the next plan has it.
    """
    updates = len(jp.calls("UpdateEndpoint"))
    arn = jp.start(reason=reason)
    jp.wait_for_state(arn, "ReadSwitches")
    with jp.muted(LATENCY), jp.changed_spec(canary=PATIENT, shadow=None) as skipped:
        assert skipped.outcome == events.SKIPPED_LEASED, skipped
        eventually(lambda: len(jp.calls("UpdateEndpoint")) > updates, within_s=PATIENCE_S)
        with live_traffic(jp):
            return jp.finish(arn)


def test_a_candidate_that_is_worse_in_live_traffic_is_aborted_and_says_why(jp: Deployed) -> None:
    starved = jp.aws.fault(service="container", kind="starve", times=1, seconds=0.05)
    champion = jp.pointer()["version"]
    with jp.serving_unchanged(), starved:
        run = run_in_live_traffic(jp, "its container will get too little CPU")
    assert run.outcome == events.CANARY_ABORTED, run
    said = json.loads(jp.audit(run.name, events.CANARY_ABORTED)["detail"])["end"]["canary"]
    candidate = jp.newest_package()
    assert said.startswith(f"version {candidate} is worse than {champion} beside it: slow in en ")
    assert jp.package_status(candidate) == "Rejected"
    assert jp.package_status(champion) == "Approved"
    assert [call["status"] for call in jp.calls("Publish") if call["service"] == "sns"] == [200]
    assert jp.lease_is_free()

"""A candidate as the champion's shadow: it gets copies of requests, and no customer gets its answers."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from contracts import events, naming
from contracts.inference import new_request_id
from contracts.kill_switches import promotion_flag
from tests.support import shop_labels
from tests.support.deployment import ENDPOINT, PATIENCE_S, SLUG, Deployed
from tests.support.embedded import eventually

pytestmark = pytest.mark.workflow
CALLERS = 2
# 8 s on the tests' clock: enough for a busy machine to answer often, and for a test to do something meanwhile.
WATCHED = {"percent": 100, "watch_s": 2_400, "compared_percent": 100, "tolerated_disagreement": 0.15}
FILLER = "the volume today {}"  # no row of the shop's labels has these words alone: any label is as good


@contextmanager
def watched(jp: Deployed) -> Iterator[None]:
    """Another shadow is no reason to replace a fleet. On a busy machine answers may be slow; that is not the point."""
    before = jp.endpoint().config
    with jp.muted(naming.guardrail_alarm(SLUG, "latency")), jp.changed_spec(shadow=WATCHED) as run:
        assert run.outcome == events.RECONCILED, run
        assert jp.endpoint().config == before
        yield


@contextmanager
def live_traffic(jp: Deployed, texts: Sequence[str]) -> Iterator[Counter[str]]:
    """Questions as the fabric asks them, each with an id; how many of them which version answered."""
    over, answered = threading.Event(), Counter[str]()

    def ask() -> None:
        runtime, n = jp.aws.client("sagemaker-runtime"), 0
        while not over.is_set():
            body = {"text": texts[n % len(texts)], "request_id": new_request_id()}
            n += 1
            try:
                answer = runtime.invoke_endpoint(EndpointName=ENDPOINT, ContentType="application/json",
                                                 Body=json.dumps(body).encode())
            except (ClientError, BotoCoreError):
                continue
            answered[json.loads(answer["Body"].read())["model_version"]] += 1

    callers = [threading.Thread(target=ask) for _ in range(CALLERS)]
    for caller in callers:
        caller.start()
    try:
        yield answered
    finally:
        over.set()
        for caller in callers:
            caller.join()


def in_shadow(jp: Deployed) -> None:
    """Until the champion serves with a shadow beside it."""
    def serves() -> bool:
        found = jp.endpoint()
        return found.status == "InService" and naming.champions_own_config(found.config) != found.config

    eventually(serves, within_s=PATIENCE_S)


def end_of(jp: Deployed, run: str, outcome: str) -> dict[str, Any]:
    """What the record says of a run's end; of a failed one all that it says."""
    detail = json.loads(jp.audit(run, outcome)["detail"])
    return dict(detail.get("end", detail))


@pytest.fixture(scope="module")
def candidate(promoted: Deployed) -> str:
    """A version that was published and never promoted."""
    promoted.come_to_rest()
    arn = promoted.start(reason="a candidate for shadows")
    promoted.wait_for_state(arn, "PublishSignedCopy")
    with promoted.flag(promotion_flag(SLUG).name, False):
        run = promoted.finish(arn)
    assert run.outcome == events.NOT_PROMOTED, run
    return promoted.newest_package()


def test_an_equal_candidate_is_compared_goes_on_to_its_canary_and_is_promoted(jp: Deployed) -> None:
    champion = jp.pointer()["version"]
    with watched(jp):
        arn = jp.start(reason="as good as what serves")
        jp.wait_for_state(arn, "Release")
        with live_traffic(jp, [row["text"] for row in shop_labels.rows(60)]):
            run = jp.finish(arn)
    assert run.outcome == events.PROMOTED, end_of(jp, run.name, run.outcome)
    version = jp.pointer()["version"]
    told = end_of(jp, run.name, events.PROMOTED)
    assert told["shadow"].startswith("not seen to be worse: ")
    assert f" answers of version {version} beside " in told["shadow"]
    assert "; answers agree: en " in told["shadow"]
    assert ", ja " in told["shadow"]
    assert f" beside {champion}" not in told["canary"]
    assert jp.endpoint().config.startswith(f"{ENDPOINT}-v{version}-")
    assert naming.champions_own_config(jp.endpoint().config) == jp.endpoint().config


def test_a_candidate_that_answers_otherwise_is_rejected_before_anybody_gets_its_answers(jp: Deployed) -> None:
    champion, before = jp.pointer()["version"], jp.ask(FILLER.format(100))["intent"]
    other = shop_labels.LABELS[(shop_labels.LABELS.index(before) + 1) % len(shop_labels.LABELS)]
    learnt = [{**row, "text": FILLER.format(100 + n)} if (row["label"], row["language"]) == (other, "en") else row
              for n, row in enumerate(shop_labels.rows())]
    with watched(jp), jp.serving_unchanged(), jp.other_labels(learnt):
        arn = jp.start(reason="it has learnt something that nobody expects")
        jp.wait_for_state(arn, "Release")
        with live_traffic(jp, [FILLER.format(100 + n) for n in range(50)]) as answered:
            run = jp.finish(arn)
        assert run.outcome == events.SHADOW_WORSE, end_of(jp, run.name, run.outcome)
    assert set(answered) == {champion}
    candidate = jp.newest_package()
    said = end_of(jp, run.name, events.SHADOW_WORSE)["shadow"]
    assert said.startswith(f"version {candidate} is worse than {champion} beside it: ")
    assert "answers in en differ in " in said
    assert jp.package_status(candidate) == "Rejected"
    assert [call["status"] for call in jp.calls("Publish") if call["service"] == "sns"] == [200]
    assert jp.lease_is_free()


def test_a_switch_that_goes_off_in_the_shadow_ends_it_and_the_champion_serves_alone(jp: Deployed) -> None:
    with watched(jp), jp.serving_unchanged():
        arn = jp.start(reason="somebody switches off in the shadow")
        in_shadow(jp)
        with jp.flag(promotion_flag(SLUG).name, False):
            run = jp.finish(arn)
    assert run.outcome == events.NOT_PROMOTED, run
    assert "UndoRelease" in run.states
    assert jp.package_status(jp.newest_package()) == "PendingManualApproval"


def test_a_release_that_was_killed_in_its_shadow_finds_it_again_and_an_undo_takes_it_away(
        jp: Deployed, candidate: str) -> None:
    def killed_in_shadow() -> None:
        release = jp.start_release(candidate)
        in_shadow(jp)
        jp.aws.client("stepfunctions").stop_execution(executionArn=release)

    with watched(jp), jp.serving_unchanged():
        killed_in_shadow()
        updates = len(jp.calls("UpdateEndpoint"))
        assert jp.ask()["model_version"] == jp.pointer()["version"]
        assert jp.release(candidate)["status"] == "SUCCEEDED"
        assert len(jp.calls("UpdateEndpoint")) == updates + 1, "the canary's"
        assert jp.ask()["model_version"] == candidate
        assert jp.release("current", undo=True)["status"] == "SUCCEEDED"
        killed_in_shadow()
        assert jp.release("current", undo=True)["status"] == "SUCCEEDED"

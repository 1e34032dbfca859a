"""The canary's judge: counts of two versions in, a verdict with its numbers out."""

from __future__ import annotations

import json
from typing import Any

import boto3
import pytest

from contracts import metrics, records
from contracts.serving import CanaryTest
from lambdas.canary_judge.handler import handler
from lambdas.canary_judge.logic import (
    CANDIDATE,
    CHAMPION,
    NO_EVIDENCE,
    NO_WORSE,
    TESTS,
    WORSE,
    Sight,
    Totals,
    Verdict,
    judge,
    queries,
    query_id,
    totals,
)
from tests.unit.lambdas.account import STORY, Account

TEST = CanaryTest(alpha=0.01, unsure_below=0.5, tolerated_errors=0.005, tolerated_slow=0.02, tolerated_unsure=0.05)


def counts(language: str = "ja", **given: int) -> Totals:
    """`champion_SERVED=900` -> the totals in one language, all others 0."""
    sums = {}
    for name, value in given.items():
        side, _, metric = name.partition("_")
        sums[query_id(side, getattr(metrics, metric), language)] = float(value)
    return totals(sums)


def looks(*seen: Totals) -> Sight:
    sight = Sight(champion="6", since=0.0)
    for now in (counts(), *seen):
        sight = Sight.from_json(json.loads(json.dumps(sight.after(now).to_json())))
    return sight


def verdict(*seen: Totals) -> Verdict:
    return judge(looks(*seen), TEST, candidate="7")


@pytest.mark.parametrize(("metric", "measure"), [
    ("SERVED_ERRORS", "errors"), ("SERVED_SLOW", "slow"), ("SERVED_UNSURE", "unsure")])
def test_each_measure_alone_can_abort_and_is_told_with_its_numbers(metric: str, measure: str) -> None:
    found = verdict(counts(champion_SERVED=900, candidate_SERVED=100, **{f"champion_{metric}": 9,
                                                                         f"candidate_{metric}": 40}))
    assert found.name == WORSE
    assert found.said.startswith(f"version 7 is worse than 6 beside it: {measure} in ja 40 of 100 (40.0%) against 9 of "
                                 "900 (1.0%), e-value ")
    assert found.said.endswith("(limit 900)")


def test_evidence_adds_up_over_looks_none_of_which_is_enough() -> None:
    seen = [counts(champion_SERVED=90 * n, candidate_SERVED=10 * n, champion_SERVED_SLOW=n, candidate_SERVED_SLOW=2 * n)
            for n in range(1, 31)]
    assert verdict(seen[0]).name == NO_WORSE
    assert verdict(*seen).name == WORSE


def test_a_language_that_is_worse_is_not_hidden_by_the_others() -> None:
    ja = counts("ja", champion_SERVED=90, candidate_SERVED=30, candidate_SERVED_ERRORS=15)
    en = counts("en", champion_SERVED=90_000, candidate_SERVED=10_000)
    found = verdict({key: ja[key] + en[key] for key in ja})
    assert found.name == WORSE
    assert "errors in ja 15 of 30" in found.said
    assert " en " not in found.said


def test_an_excess_that_is_sure_and_does_not_matter_aborts_nothing() -> None:
    found = verdict(counts(champion_SERVED=9_000_000, candidate_SERVED=1_000_000, champion_SERVED_ERRORS=9_000,
                           candidate_SERVED_ERRORS=4_000))
    assert looks(counts(champion_SERVED=9_000_000, candidate_SERVED=1_000_000, champion_SERVED_ERRORS=9_000,
                        candidate_SERVED_ERRORS=4_000)).evidence["errors", "ja"].worse_beyond_doubt(TEST.alpha)
    assert found.name == NO_WORSE


def test_a_candidate_that_is_better_is_no_worse_and_nothing_more() -> None:
    found = verdict(counts(champion_SERVED=900, champion_SERVED_ERRORS=450, candidate_SERVED=100))
    assert found == Verdict(name=NO_WORSE, said="not seen to be worse: 100 answers of version 7 beside 900 of 6")


@pytest.mark.parametrize("seen", [counts(), counts(champion_SERVED=900),
                                  counts(candidate_SERVED=50, candidate_SERVED_ERRORS=50)])
def test_without_answers_of_both_there_is_no_evidence(seen: Totals) -> None:
    found = verdict(seen)
    assert found.name == NO_EVIDENCE
    assert found.said.endswith("no evidence; guardrail alarms alone watched")


def test_what_was_counted_before_the_first_look_is_no_evidence() -> None:
    warm_up = counts(champion_SERVED=900, candidate_SERVED=100, candidate_SERVED_SLOW=100)
    sight = Sight(champion="6", since=0.0).after(warm_up).after(warm_up)
    assert judge(sight, TEST, candidate="7").name == NO_EVIDENCE


def test_a_count_that_has_not_arrived_whole_waits_for_the_next_look() -> None:
    early = counts(champion_SERVED=900, candidate_SERVED_ERRORS=100)
    whole = counts(champion_SERVED=900, candidate_SERVED=100, candidate_SERVED_ERRORS=100)
    assert looks(early).evidence["errors", "ja"].a.of == 0
    assert looks(early, whole).evidence["errors", "ja"] == looks(whole).evidence["errors", "ja"]


def test_the_same_look_again_changes_nothing() -> None:
    """A step may run twice: its second answer counts nothing twice."""
    seen = counts(champion_SERVED=900, candidate_SERVED=100, candidate_SERVED_SLOW=10)
    assert looks(seen, seen) == looks(seen)


def test_every_test_asks_cloudwatch_for_what_it_needs_and_the_state_stays_small() -> None:
    asked = {query["Id"] for query in queries("intent-classifier", champion="6", candidate="7")}
    assert asked == set(counts())
    for measure, language in TESTS:
        assert query_id(CANDIDATE, getattr(metrics, f"SERVED_{measure.upper()}"), language) in asked
        assert query_id(CHAMPION, metrics.SERVED, language) in asked
    state = looks(counts(champion_SERVED=10**7, candidate_SERVED=10**6, candidate_SERVED_SLOW=10**5)).to_json()
    assert len(json.dumps(state)) < 8_000, "it travels through the state machine, whose limit is 256 KB"


def put(account: Account, version: str, metric: str, value: float) -> None:
    boto3.client("cloudwatch").put_metric_data(Namespace=metrics.NAMESPACE, MetricData=[{
        "MetricName": metric, "Value": value, "Dimensions": [
            {"Name": name, "Value": of} for name, of in metrics.dimensions(
                metric, story=STORY, language="ja", version=version).items()]}])


def test_the_handler_compares_with_the_version_that_served_at_the_first_look(account: Account, context: Any) -> None:
    account.put_control(records.POINTER, version="6")
    first = handler({"story": STORY, "version": "7", "state": {}}, context)
    assert first["verdict"] == NO_EVIDENCE
    for version, slow in (("6", 1), ("7", 90), ("5", 100)):
        put(account, version, metrics.SERVED, 100)
        put(account, version, metrics.SERVED_SLOW, slow)
    account.put_control(records.POINTER, version="5")  # a roll-back meanwhile
    second = handler({"story": STORY, "version": "7", "state": first["state"]}, context)
    assert second["verdict"] == WORSE
    assert "slow in ja 90 of 100 (90.0%) against 1 of 100 (1.0%)" in second["said"]


@pytest.mark.parametrize("promoted", [None, "7"])
def test_nothing_is_judged_without_another_version_beside_it(
    account: Account, context: Any, promoted: str | None
) -> None:
    if promoted is not None:
        account.put_control(records.POINTER, version=promoted)
    found = handler({"story": STORY, "version": "7", "state": {}}, context)
    assert (found["verdict"], found["said"]) == (NO_EVIDENCE, "no other version serves beside 7")

"""The canary's judge: counts of two versions in, a verdict with its numbers out."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from contracts import metrics, records
from contracts.sequential import Outcomes
from contracts.served_log import ServedLine
from contracts.serving import CanaryTest
from lambdas.canary_judge.agreement import Agreement, agreement, quantile
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


# --- a shadow: the same test, and answers compared one by one -------------------------------------------------------


def line(rid: int, version: str, answer: str, *, language: str = "ja", ms: float = 4.0) -> ServedLine:
    return ServedLine(request_id=f"r{rid}", version=version, language=language, answer=answer, ms=ms)


def pairs(count: int, differ: int, language: str = "ja") -> list[ServedLine]:
    champion = [line(n, "6", "a", language=language) for n in range(count)]
    return champion + [line(n, "7", "b" if n < differ else "a", language=language, ms=6.0) for n in range(count)]


def compared(lines: list[ServedLine], tolerated: float = 0.15) -> Agreement:
    return agreement(lines, champion="6", candidate="7", tolerated=tolerated)


def test_answers_are_paired_by_request_and_counted_by_language() -> None:
    en = [line(100 + n, version, "a", language="en") for n in range(3) for version in ("6", "7")]
    found = compared([*pairs(10, 2), *en, line(500, "6", "a"), line(501, "7", "a"), line(502, "5", "a")])
    assert found.differ == {"en": Outcomes(failed=0, of=3), "ja": Outcomes(failed=2, of=10)}
    assert found.said == "answers agree: en 100.0% of 3, ja 80.0% of 10; p50/p95 6.0/6.0 ms beside 4.0/4.0"


def test_of_a_request_that_was_asked_again_the_first_answers_count() -> None:
    assert compared([*pairs(1, 0), line(0, "7", "b")]).differ == {"ja": Outcomes(failed=0, of=1)}


def test_a_shadow_that_answers_otherwise_is_worse_in_its_language_and_says_by_how_much() -> None:
    found = judge(looks(counts(champion_SERVED=100, candidate_SERVED=100)), TEST, candidate="7",
                  agreement=compared(pairs(100, 60) + pairs(1_000, 20, "en")))
    assert found.name == WORSE
    assert found.said.startswith("version 7 is worse than 6 beside it: answers in ja differ in 60 of 100 (60.0%), "
                                 "tolerated are 15.0%, e-value ")
    assert found.said.endswith("(limit 1200)"), "nine tests of counts and three of answers share alpha"


@pytest.mark.parametrize(("count", "differ"), [(100, 15), (20, 6), (1_000, 170)])
def test_a_disagreement_that_is_tolerated_or_not_sure_is_told_and_rejects_nothing(count: int, differ: int) -> None:
    found = judge(looks(counts(champion_SERVED=100, candidate_SERVED=100)), TEST, candidate="7",
                  agreement=compared(pairs(count, differ)))
    assert found.name == NO_WORSE
    assert f"; answers agree: ja {1 - differ / count:.1%} of {count}; " in found.said


@pytest.mark.parametrize("metric", ["SERVED_ERRORS", "SERVED_SLOW", "SERVED_UNSURE"])
def test_a_shadow_is_held_to_the_canarys_measures_too(metric: str) -> None:
    seen = looks(counts(champion_SERVED=100, candidate_SERVED=100, **{f"candidate_{metric}": 60}))
    assert judge(seen, TEST, candidate="7", agreement=compared([])).name == WORSE


def test_a_shadow_without_requests_gives_no_evidence_and_says_so() -> None:
    found = judge(looks(counts()), TEST, candidate="7", agreement=compared([]))
    assert found == Verdict(name=NO_EVIDENCE, said="0 answers of version 7 beside 0 of 6: no evidence; no answers to "
                                                   "the same requests were there to compare")


@pytest.mark.parametrize(("share", "value"), [(0.5, 51.0), (0.95, 96.0), (1.0, 100.0)])
def test_a_quantile_of_a_hundred_values(share: float, value: float) -> None:
    assert quantile([float(n) for n in range(100, 0, -1)], share) == value


def log_lines(count: int, differ: int) -> list[dict[str, Any]]:
    return [{"message": json.dumps({
        "event": "request", "status": 200, "request_id": f"r{n}", "model_version": version, "language": "ja", "ms": 4,
        "answer": "b" if n < differ and version == "7" else "a"}), "timestamp": 0} for n in range(count)
        for version in ("6", "7")]


def shadow_look(context: Any, state: dict[str, Any], compared_percent: int = 100) -> dict[str, Any]:
    return handler({"story": STORY, "version": "7", "state": state, "shadow": {
        "tolerated_disagreement": 0.15, "compared_percent": compared_percent}}, context)


def begun(account: Account) -> dict[str, Any]:
    account.put_control(records.POINTER, version="6")
    return Sight(champion="6", since=time.time()).after(counts()).to_json()


def test_the_handler_reads_the_endpoints_log_page_by_page(
    account: Account, context: Any, stub: Callable[[str], Stubber]
) -> None:
    state, logs = begun(account), stub("logs")
    lines = log_lines(60, 60)
    logs.add_response("filter_log_events", {"events": [*lines[:50], {"message": "Traceback"}], "nextToken": "more"})
    logs.add_response("filter_log_events", {"events": lines[50:]})
    found = shadow_look(context, state)
    assert found["verdict"] == WORSE
    assert "answers in ja differ in 60 of 60" in found["said"]


def test_the_handler_compares_the_share_that_the_contract_says(
    account: Account, context: Any, stub: Callable[[str], Stubber]
) -> None:
    stub("logs").add_response("filter_log_events", {"events": log_lines(400, 0)})
    said = shadow_look(context, begun(account), compared_percent=10)["said"]
    assert 10 < int(said.split("ja 100.0% of ")[1].split(";")[0]) < 90


def test_a_log_that_can_not_be_read_ends_no_shadow_and_is_told(
    account: Account, context: Any, stub: Callable[[str], Stubber]
) -> None:
    stub("logs").add_client_error("filter_log_events", "ThrottlingException")
    found = shadow_look(context, begun(account))
    assert found["verdict"] == NO_EVIDENCE
    assert found["said"].endswith("answers could not be compared: their log could not be read")


def test_the_handler_counts_a_shadows_answers_and_not_those_of_a_canary(
    account: Account, context: Any, stub: Callable[[str], Stubber]
) -> None:
    stub("logs").add_response("filter_log_events", {"events": []})
    for version, slow in (("6", 0), ("7", 0), ("7-shadow", 90)):
        put(account, version, metrics.SERVED, 100)
        put(account, version, metrics.SERVED_SLOW, slow)
    found = shadow_look(context, begun(account))
    assert found["verdict"] == WORSE
    assert found["said"].startswith("version 7 is worse than 6 beside it: slow in ja 90 of 100")


def test_a_canary_reads_no_log(account: Account, context: Any, stub: Callable[[str], Stubber]) -> None:
    stub("logs")  # any call of it would be refused
    found = handler({"story": STORY, "version": "7", "state": begun(account)}, context)
    assert found["said"].endswith("guardrail alarms alone watched")

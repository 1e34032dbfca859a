"""Evaluation in, verdict out: in full beside the evaluation, in short to the state machine."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

import pytest

from contracts.gates import GateResult, Verdict
from lambdas.judge.handler import handler
from lambdas.judge.logic import MAX_GATES, answer, taxonomy_of
from lambdas.shared.errors import EvidenceMissing, InvalidInput
from tests.unit.lambdas.account import ARTIFACTS, STORY, Account
from tests.unit.lambdas.evidence import EVALUATION_KEY, EVALUATION_URI, passing_report, put_evaluation


def judge(context: Any, champion: str = "none", uri: str = EVALUATION_URI) -> dict[str, Any]:
    return handler({"story": STORY, "evaluation_uri": uri, "champion_version": champion}, context)


def test_a_good_first_candidate_passes_and_its_whole_verdict_is_kept(
    account: Account, context: Any, emitted: Callable[[str], list[dict[str, Any]]]
) -> None:
    put_evaluation(account, passing_report())
    found = judge(context)
    assert found["passed"] is True
    assert (found["failed"], found["reasons"]) == ([], [])
    key = found["verdict_uri"].removeprefix(f"s3://{ARTIFACTS}/")
    written = json.loads(account.s3.get_object(Bucket=ARTIFACTS, Key=key)["Body"].read())
    evaluation = account.s3.get_object(Bucket=ARTIFACTS, Key=EVALUATION_KEY)["Body"].read()
    assert written["evaluation_sha256"] == hashlib.sha256(evaluation).hexdigest()
    assert written["champion_version"] == "none"
    assert len(written["gates"]) == 27  # 18 slices and nine others
    assert [line["TrainingUsd"] for line in emitted("TrainingUsd")] == [[3.5]]


def test_the_evaluation_may_be_named_by_folder_or_by_file(account: Account, context: Any) -> None:
    put_evaluation(account, passing_report())
    assert judge(context, uri=f"s3://{ARTIFACTS}/{EVALUATION_KEY}") == judge(context)


def test_a_worse_slice_fails_by_name(account: Account, context: Any) -> None:
    report = passing_report("4")
    report["slices"]["language=ja,cohort=new,daypart=peak"]["macro_f1"] = 0.5
    put_evaluation(account, report)
    found = judge(context, "4")
    assert found["passed"] is False
    assert found["failed"] == ["slice_macro_f1[language=ja,cohort=new,daypart=peak]"]
    assert found["gates"][0]["name"] == found["failed"][0]


def test_a_comparison_with_yesterdays_champion_is_no_evidence(account: Account, context: Any) -> None:
    put_evaluation(account, passing_report("4"))
    assert judge(context, "5")["failed"] == ["champion_is_current"]


def test_a_report_without_a_cost_fails_and_counts_none(
    account: Account, context: Any, emitted: Callable[[str], list[dict[str, Any]]]
) -> None:
    report = passing_report()
    del report["cost"]
    put_evaluation(account, report)
    assert judge(context)["failed"] == ["training_usd", "serving_usd_per_100k"]
    assert emitted("TrainingUsd") == []


def test_a_missing_evaluation_is_said_so(account: Account, context: Any) -> None:
    with pytest.raises(EvidenceMissing, match=r"evaluation\.json does not exist"):
        judge(context)


@pytest.mark.parametrize(("data", "said"), [
    (b"{", "not valid JSON"), (b"\xff", "not valid JSON"), (b"[]", "one JSON object"),
])
def test_an_unreadable_evaluation_is_said_so(account: Account, context: Any, data: bytes, said: str) -> None:
    account.put_object(ARTIFACTS, EVALUATION_KEY, data)
    with pytest.raises(EvidenceMissing, match=said):
        judge(context)


def test_another_storys_evaluation_is_refused(account: Account, context: Any) -> None:
    put_evaluation(account, passing_report() | {"story": "spam"})
    with pytest.raises(EvidenceMissing, match="of story 'spam', not of 'intent-classifier'"):
        judge(context)


@pytest.mark.parametrize("uri", [
    f"s3://elsewhere/runs/{STORY}/r/evaluation.json", f"s3://{ARTIFACTS}/runs/spam/r/evaluation.json",
    f"s3://{ARTIFACTS}/runs/{STORY}/../spam/evaluation.json", "not-a-uri", 7,
])
def test_evidence_is_read_from_the_storys_runs_only(account: Account, context: Any, uri: str) -> None:
    with pytest.raises(InvalidInput, match=r"must lie below s3://artifacts/runs/intent-classifier/|looks like s3://"):
        judge(context, uri=uri)


def test_a_report_can_not_choose_which_slices_a_known_taxonomy_requires() -> None:
    tamed = {"name": "manga14-v1", "labels": ["a", "b"], "languages": ["en"]}
    assert len(taxonomy_of({"taxonomy": tamed}).required_slices()) == 18


def test_somebodys_own_taxonomy_is_taken_from_the_report() -> None:
    own = {"name": "own-v1", "labels": ["a", "b"], "languages": ["en", "ja"]}
    assert taxonomy_of({"taxonomy": own}).required_slices() == ({"language": "en"}, {"language": "ja"})


@pytest.mark.parametrize("taxonomy", [None, {"name": "x"}, {"name": "x", "labels": ["a"], "languages": ["en"]}])
def test_a_report_without_a_readable_taxonomy_is_no_evidence(taxonomy: object) -> None:
    with pytest.raises(EvidenceMissing, match="taxonomy"):
        taxonomy_of({"taxonomy": taxonomy})


def test_a_short_answer_never_cuts_off_a_failed_gate() -> None:
    passed = tuple(GateResult(name=f"p{i}", value=1, limit="", passed=True) for i in range(100))
    failed = (GateResult(name="last", value=None, limit="", passed=False, reason="r" * 1000),)
    found = answer(Verdict(passed=False, gates=passed + failed), "s3://b/v")
    assert found["gates"][0]["name"] == "last"
    assert len(found["gates"]) == MAX_GATES
    assert len(json.dumps(found)) < 20_000

"""The pointer moves in one fenced transaction, with its audit record."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from botocore.stub import Stubber

from contracts import records
from lambdas.audit.handler import handler as audit
from lambdas.promote.handler import handler
from lambdas.promote.logic import next_pointer
from lambdas.promote.store import write
from lambdas.shared.errors import InvalidInput, LeaseLost, NeverPromoted, PointerMoved, RegistryNotTold
from tests.unit.lambdas.account import AUDIT, CONTROL, STORY, Account

Stub = Callable[[str], Stubber]


def event(version: str, *, run: str, token: int = 3, **more: Any) -> dict[str, Any]:
    return {
        "story": STORY, "version": version, "token": token, "run_id": run, "manifest_sha256": version * 64,
        "model_uri": f"s3://artifacts/models/{STORY}/{version}/", "label_version_to": "7",
        "model_package_arn": package(version), "verdict_uri": "s3://artifacts/v.json", "kind": "promote", **more,
    }


def package(version: str) -> str:
    return f"arn:aws:sagemaker:ap-northeast-1:123456789012:model-package/mangaassist-{STORY}/{version}"


def expect_status(sagemaker: Stubber, version: str, before: str, after: str, *, run: str = "run") -> None:
    """The registry shows `before` and is told `after` when that differs."""
    sagemaker.add_response("describe_model_package", described(version, before), {"ModelPackageName": package(version)})
    if before != after:
        sagemaker.add_response("update_model_package", {"ModelPackageArn": package(version)}, {
            "ModelPackageArn": package(version), "ModelApprovalStatus": after,
            "ApprovalDescription": f"{'rollback' if after == 'Rejected' else 'promote'} by run {run}",
        } if after == "Rejected" else None)


def described(version: str, status: str) -> dict[str, Any]:
    return {
        "ModelPackageName": f"mangaassist-{STORY}", "ModelPackageArn": package(version), "ModelApprovalStatus": status,
        "CreationTime": 0, "ModelPackageStatus": "Completed", "ModelPackageStatusDetails": {"ValidationStatuses": []},
    }


@pytest.fixture
def leased(account: Account) -> Account:
    account.put_control(records.LEASE, holder="us", token=3, expires_at=1)
    return account


def promote(context: Any, stub: Stub, version: str, *, run: str, status: str = "PendingManualApproval") -> None:
    expect_status(stub("sagemaker"), version, status, "Approved")
    assert handler(event(version, run=run), context) == {"promoted": True, "version": version}


def test_the_first_promotion_sets_the_pointer_approves_and_records(leased: Account, context: Any, stub: Stub) -> None:
    promote(context, stub, "1", run="run-1")
    pointer = leased.control(records.POINTER)
    assert pointer is not None
    assert (pointer["version"], pointer["previous"], pointer["token"], pointer["kind"]) == ("1", None, 3, "promote")
    assert leased.audit_ids() == ["run-1#promote"]


def test_a_second_promotion_keeps_a_full_copy_of_the_first(leased: Account, context: Any, stub: Stub) -> None:
    promote(context, stub, "1", run="run-1")
    promote(context, stub, "2", run="run-2")
    pointer = leased.control(records.POINTER)
    assert pointer is not None
    assert pointer["version"] == "2"
    first = event("1", run="")
    assert pointer["previous"] == {"previous": None, **{name: first[name] for name in (
        "version", "model_uri", "manifest_sha256", "model_package_arn", "label_version_to", "verdict_uri")}}


def test_a_repeated_promotion_of_the_same_run_is_a_success_and_changes_nothing(
    leased: Account, context: Any, stub: Stub
) -> None:
    promote(context, stub, "1", run="run-1")
    before = leased.control(records.POINTER)
    promote(context, stub, "1", run="run-1", status="Approved")
    assert leased.control(records.POINTER) == before
    assert leased.audit_ids() == ["run-1#promote"]


def test_a_retry_finishes_the_approval_that_the_first_try_did_not_reach(
    leased: Account, context: Any, stub: Stub
) -> None:
    """An error of its own: the pointer has moved, so a run whose retries end here must not count as failed."""
    stub("sagemaker").add_client_error("describe_model_package", "ThrottlingException")
    with pytest.raises(RegistryNotTold, match="version 1 serves, the registry was not told"):
        handler(event("1", run="run-1"), context)
    pointer = leased.control(records.POINTER)
    assert pointer is not None
    assert pointer["version"] == "1"
    promote(context, stub, "1", run="run-1")


def test_a_run_that_lost_its_lease_writes_nothing(leased: Account, context: Any) -> None:
    leased.put_control(records.LEASE, holder="rollback", token=4, expires_at=1)
    with pytest.raises(LeaseLost, match="token 3 of intent-classifier"):
        handler(event("1", run="run-1"), context)
    assert leased.control(records.POINTER) is None
    assert leased.audit_ids() == []


def test_without_any_lease_nothing_is_written(account: Account, context: Any) -> None:
    with pytest.raises(LeaseLost):
        handler(event("1", run="run-1"), context)


def test_a_pointer_that_moved_between_read_and_write_is_left_alone(leased: Account, context: Any, stub: Stub) -> None:
    promote(context, stub, "1", run="run-1")
    stale = next_pointer(None, event("2", run="run-2"), at="now")
    with pytest.raises(PointerMoved, match="changed while"):
        write(leased.dynamodb, control_table=CONTROL, audit_table=AUDIT, story=STORY, before=None, pointer=stale,
              audit={"story": STORY, "id": "run-2#promote"})
    pointer = leased.control(records.POINTER)
    assert pointer is not None
    assert pointer["version"] == "1"


def test_a_conflict_with_another_transaction_is_passed_on_for_a_retry(account: Account, stub: Stub) -> None:
    dynamodb = stub("dynamodb")
    for code in ("TransactionCanceledException", "ProvisionedThroughputExceededException"):
        dynamodb.add_response("query", {"Items": []})
        dynamodb.add_client_error("transact_write_items", code, modeled_fields={"CancellationReasons": [
            {"Code": "None"}, {"Code": "TransactionConflict"}, {"Code": "None"}, {"Code": "None"}]}
            if code.startswith("Transaction") else None)
        with pytest.raises(Exception, match=code):
            write(dynamodb.client, control_table=CONTROL, audit_table=AUDIT, story=STORY, before=None,
                  pointer={"token": 3}, audit={"story": STORY, "id": "x"})


def rollback_event(version: str, run: str = "run") -> dict[str, Any]:
    return {"story": STORY, "version": version, "token": 3, "run_id": run, "kind": "rollback"}


def test_a_roll_back_goes_to_the_previous_version_and_rejects_what_it_left(
    leased: Account, context: Any, stub: Stub
) -> None:
    promote(context, stub, "1", run="run-1")
    promote(context, stub, "2", run="run-2")
    expect_status(stub("sagemaker"), "1", "Approved", "Approved")
    expect_status(stub("sagemaker"), "2", "Approved", "Rejected")
    assert handler(rollback_event("1"), context) == {"promoted": True, "version": "1"}
    pointer = leased.control(records.POINTER)
    assert pointer is not None
    assert (pointer["version"], pointer["previous"], pointer["kind"]) == ("1", None, "rollback")
    assert pointer["rolled_back_from"]["version"] == "2"
    assert leased.audit_ids() == ["run#rollback", "run-1#promote", "run-2#promote"]
    # the same roll-back again, its answer lost, changes nothing
    expect_status(stub("sagemaker"), "1", "Approved", "Approved")
    expect_status(stub("sagemaker"), "2", "Rejected", "Rejected")
    handler(rollback_event("1"), context)
    assert leased.control(records.POINTER) == pointer


def test_rolling_back_twice_goes_further_back_and_never_to_what_was_left(
    leased: Account, context: Any, stub: Stub
) -> None:
    for number in ("1", "2", "3"):
        promote(context, stub, number, run=f"run-{number}")
    for target, left in (("2", "3"), ("1", "2")):
        expect_status(stub("sagemaker"), target, "Approved", "Approved")
        expect_status(stub("sagemaker"), left, "Approved", "Rejected", run=f"back-to-{target}")
        handler(rollback_event(target, run=f"back-to-{target}"), context)
    pointer = leased.control(records.POINTER)
    assert pointer is not None
    assert (pointer["version"], pointer["previous"]) == ("1", None)


def test_history_is_bounded() -> None:
    pointer: dict[str, Any] | None = None
    for number in range(1, 9):
        pointer = next_pointer(pointer, event(str(number), run=f"run-{number}"), at="now")
    versions, step = [], pointer
    while step:
        versions.append(step["version"])
        step = step["previous"]
    assert versions == ["8", "7", "6", "5"]


def test_rolling_back_needs_a_previous_version(leased: Account, context: Any, stub: Stub) -> None:
    with pytest.raises(NeverPromoted, match="no previous version"):
        handler(rollback_event("1"), context)
    promote(context, stub, "1", run="run-1")
    with pytest.raises(NeverPromoted, match="no previous version"):
        handler(rollback_event("0"), context)


def test_rolling_back_to_another_version_than_was_released_is_refused(
    leased: Account, context: Any, stub: Stub
) -> None:
    promote(context, stub, "1", run="run-1")
    promote(context, stub, "2", run="run-2")
    with pytest.raises(PointerMoved, match="version 7 was released, but the previous one is 1"):
        handler(rollback_event("7"), context)


def test_promote_names_all_that_is_missing_and_the_kinds_it_knows(leased: Account, context: Any) -> None:
    with pytest.raises(InvalidInput, match="promote needs model_uri, manifest_sha256"):
        handler({"story": STORY, "version": "1", "token": 3, "run_id": "r"}, context)
    with pytest.raises(InvalidInput, match="promote, rollback, got 'sideways'"):
        handler(event("1", run="r", kind="sideways"), context)


# --- audit -----------------------------------------------------------------------


def record(context: Any, outcome: str = "Promoted", detail: Any = None) -> dict[str, Any]:
    return audit({"story": STORY, "outcome": outcome, "run_id": "run-1", "detail": detail}, context)


def test_an_outcome_told_twice_is_one_record_and_one_data_point(
    account: Account, context: Any, emitted: Callable[[str], list[dict[str, Any]]]
) -> None:
    assert record(context, detail={"accuracy": 0.93}) == record(context, detail={"accuracy": 0.1}) == {"recorded": True}
    items = account.audit_records()
    assert [i["id"]["S"] for i in items] == ["run-1#Promoted"]
    assert json.loads(items[0]["detail"]["S"]) == {"accuracy": 0.93}  # the first telling stays
    assert [line["Outcome"] for line in emitted("RetrainOutcome")] == ["Promoted"]


def test_an_oversized_detail_is_cut_and_says_so(account: Account, context: Any) -> None:
    record(context, detail={"big": "x" * 100_000})
    item = account.audit_records()[0]
    assert "more than 64000 bytes" in item["detail"]["S"]
    assert json.loads(item["detail"]["S"])["keys"] == ["big"]


def test_an_unknown_outcome_names_the_allowed_ones(account: Account, context: Any) -> None:
    with pytest.raises(InvalidInput, match="unknown outcome 'Done': allowed are Promoted, Rejected"):
        record(context, "Done")


def test_an_audit_table_that_refuses_is_an_error(account: Account, context: Any, stub: Stub) -> None:
    stub("dynamodb").add_client_error("query", "AccessDeniedException")
    with pytest.raises(Exception, match="AccessDenied"):
        record(context)

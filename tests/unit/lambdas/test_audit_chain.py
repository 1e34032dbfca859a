"""The audit trail in a table: one chain per story, whoever writes; its head signed by KMS; verified by the CLI."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from botocore.stub import Stubber
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from moto.kms.utils import ECDSAPrivateKey
from typer.testing import CliRunner

from cli import audit as cli_audit
from cli.main import app
from cli.target import Target
from contracts import audit_table, naming, records
from contracts.audit_verifier import DROPPED, REWRITTEN, TAMPERED, TRUNCATED
from lambdas.audit.handler import handler as audit
from lambdas.audit_checkpoint.handler import handler as checkpoint
from lambdas.promote.store import write
from lambdas.shared import audit_trail
from lambdas.shared import aws as lambda_aws
from lambdas.shared.audit_record import record
from lambdas.shared.errors import AuditChainBusy, PointerMoved
from tests.unit.lambdas.account import CONTROL, REGION, STORY, Account
from tests.unit.lambdas.conftest import _table

TABLE, BUCKET = naming.audit_table("jp"), naming.bucket(naming.ARTIFACTS, "jp", "123456789012")
LINKS = audit_table.chain_partition(STORY)


@pytest.fixture
def jp(account: Account, monkeypatch: pytest.MonkeyPatch) -> Target:
    """The account under the names of a deployment, so that functions and CLI meet."""
    _table(account.dynamodb, TABLE, (records.AUDIT_PARTITION_KEY, records.AUDIT_SORT_KEY))
    account.s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
    account.kms.create_alias(AliasName=f"alias/{naming.signing_key_alias('jp')}", TargetKeyId=account.key_arn)
    # moto hashes a digest once more, so nothing it signs verifies outside of it; KMS does not.
    monkeypatch.setattr(ECDSAPrivateKey, "sign", lambda self, message, signing_algorithm: self.private_key.sign(
        message, ec.ECDSA(Prehashed(hashes.SHA256()))))
    monkeypatch.setenv("AUDIT_TABLE", TABLE)
    monkeypatch.setenv("ARTIFACTS_BUCKET", BUCKET)
    lambda_aws.environment.cache_clear()
    return Target.of("jp")


def tell(context: Any, runs: range, outcome: str = "Promoted") -> None:
    for run in runs:
        audit({"story": STORY, "outcome": outcome, "run_id": f"run-{run}", "detail": {"run": run}}, context)


def found(jp: Target, story: str = STORY) -> list[tuple[str, int, int]]:
    return [(f.kind, f.first, f.last) for f in cli_audit.verify_chain(jp, story).verdict.findings]


def link(account: Account, number: int) -> dict[str, Any]:
    key = {"story": {"S": LINKS}, "id": {"S": f"{number:012}"}}
    return dict(account.dynamodb.get_item(TableName=TABLE, Key=key)["Item"])


def drop(account: Account, item: dict[str, Any]) -> None:
    account.dynamodb.delete_item(TableName=TABLE, Key={name: item[name] for name in ("story", "id")})


def test_what_functions_record_is_a_chain_that_verifies(jp: Target, context: Any) -> None:
    tell(context, range(3))
    assert checkpoint({}, context) == {"signed": {STORY: 3}}
    tell(context, range(3, 5), "LabelsEdited")
    verified = cli_audit.verify_chain(jp, STORY)
    assert verified.intact
    assert (verified.verdict.records, verified.verdict.signed_to) == (5, 3)
    assert verified.ids[4] == "run-3#LabelsEdited"


def test_an_event_delivered_twice_is_one_link(jp: Target, context: Any) -> None:
    tell(context, range(2))
    tell(context, range(2))
    assert cli_audit.verify_chain(jp, STORY).verdict.records == 2


def test_a_head_is_signed_once(jp: Target, context: Any) -> None:
    tell(context, range(1))
    assert checkpoint({}, context) == {"signed": {STORY: 1}}
    assert checkpoint({}, context) == {"signed": {}}


def test_a_writer_that_saw_an_old_head_takes_the_next_number(
    jp: Target, account: Account, context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell(context, range(1))
    old = audit_trail.read_head(account.dynamodb, TABLE, STORY)
    tell(context, range(1, 2))
    real, seen = audit_trail.read_head, [old]
    monkeypatch.setattr(audit_trail, "read_head", lambda *at: seen.pop() if seen else real(*at))
    tell(context, range(2, 3))
    assert not seen
    assert cli_audit.verify_chain(jp, STORY).ids == {n + 1: f"run-{n}#Promoted" for n in range(3)}


def test_a_writer_that_never_gets_a_place_says_so(
    jp: Target, account: Account, context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = audit_trail.read_head(account.dynamodb, TABLE, STORY)
    tell(context, range(1))
    monkeypatch.setattr(audit_trail, "read_head", lambda *at: old)
    monkeypatch.setattr(audit_trail, "pause", lambda attempt: None)
    with pytest.raises(AuditChainBusy, match="grew 8 times"):
        tell(context, range(1, 2))


def promoted(run: str) -> dict[str, str]:
    return record(story=STORY, run_id=run, what="promote", at="now", detail={})


def test_a_promotion_whose_place_was_taken_moves_the_pointer_once_and_is_linked_behind(
    jp: Target, account: Account, context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    account.put_control(records.LEASE, holder="us", token=3, expires_at=1)
    old = audit_trail.read_head(account.dynamodb, TABLE, STORY)
    tell(context, range(1))
    seen, real = [old], audit_trail.read_head
    monkeypatch.setattr("lambdas.promote.store.read_head", lambda *at: seen.pop() if seen else real(*at))
    pointer = {"token": 3, "run_id": "run-9", "version": "1"}
    write(account.dynamodb, control_table=CONTROL, audit_table=TABLE, story=STORY, before=None, pointer=pointer,
          audit=promoted("run-9"))
    assert account.control(records.POINTER) == pointer
    assert cli_audit.verify_chain(jp, STORY).ids[2] == "run-9#promote"
    with pytest.raises(PointerMoved):  # the same record again is no new place
        write(account.dynamodb, control_table=CONTROL, audit_table=TABLE, story=STORY, before=pointer,
              pointer={**pointer, "version": "2"}, audit=promoted("run-9"))


def test_a_conflict_on_the_link_alone_is_passed_on_when_it_never_ends(
    account: Account, stub: Callable[[str], Stubber], monkeypatch: pytest.MonkeyPatch
) -> None:
    dynamodb = stub("dynamodb")
    monkeypatch.setattr("lambdas.promote.store.pause", lambda attempt: None)
    for _ in range(audit_table.APPEND_ATTEMPTS):
        dynamodb.add_response("query", {"Items": []})
        dynamodb.add_client_error("transact_write_items", "TransactionCanceledException", modeled_fields={
            "CancellationReasons": [*[{"Code": "None"}] * 3, {"Code": "ConditionalCheckFailed"}]})
    with pytest.raises(Exception, match="TransactionCanceledException"):
        write(dynamodb.client, control_table=CONTROL, audit_table="audit", story=STORY, before=None,
              pointer={"token": 3}, audit=promoted("x"))


def test_an_edited_record_is_named(jp: Target, account: Account, context: Any) -> None:
    tell(context, range(4))
    account.dynamodb.update_item(
        TableName=TABLE, Key={"story": {"S": STORY}, "id": {"S": "run-2#Promoted"}},
        UpdateExpression="SET detail = :d", ExpressionAttributeValues={":d": {"S": "{}"}})
    assert found(jp) == [(TAMPERED, 3, 3)]


def test_a_field_of_another_type_is_named(jp: Target, account: Account, context: Any) -> None:
    tell(context, range(2))
    account.dynamodb.update_item(
        TableName=TABLE, Key={"story": {"S": STORY}, "id": {"S": "run-0#Promoted"}},
        UpdateExpression="SET detail = :d", ExpressionAttributeValues={":d": {"N": "7"}})
    assert found(jp) == [(TAMPERED, 1, 1)]


@pytest.mark.parametrize("with_record", [True, False])
def test_a_dropped_link_is_named_and_so_is_the_record_that_it_left(
    jp: Target, account: Account, context: Any, with_record: bool
) -> None:
    tell(context, range(4))
    drop(account, link(account, 2))
    if with_record:
        drop(account, {"story": {"S": STORY}, "id": {"S": "run-1#Promoted"}})
    assert found(jp) == [(DROPPED, 2, 2)]
    assert cli_audit.verify_chain(jp, STORY).unlinked == (() if with_record else ("run-1#Promoted",))


def test_a_dropped_record_is_named(jp: Target, account: Account, context: Any) -> None:
    tell(context, range(4))
    drop(account, {"story": {"S": STORY}, "id": {"S": "run-1#Promoted"}})
    assert found(jp) == [(DROPPED, 2, 2)]


def test_two_records_that_changed_places_are_both_named(jp: Target, account: Account, context: Any) -> None:
    tell(context, range(4))
    second, third = link(account, 2), link(account, 3)
    for item, other in ((second, third), (third, second)):
        account.dynamodb.put_item(TableName=TABLE, Item={**item, "of": other["of"]})
    assert found(jp) == [(TAMPERED, 2, 2), (TAMPERED, 3, 3)]


def test_records_cut_off_at_the_end_are_missed_by_the_signed_head(jp: Target, account: Account, context: Any) -> None:
    tell(context, range(4))
    checkpoint({}, context)
    for number in (3, 4):
        drop(account, {"story": {"S": STORY}, "id": link(account, number)["of"]})
        drop(account, link(account, number))
    assert found(jp) == [(TRUNCATED, 3, 4)]


def test_a_chain_written_anew_from_the_middle_contradicts_the_signed_head(
    jp: Target, account: Account, context: Any
) -> None:
    tell(context, range(4))
    checkpoint({}, context)
    for number in (3, 4):
        drop(account, {"story": {"S": STORY}, "id": link(account, number)["of"]})
        drop(account, link(account, number))
    tell(context, range(7, 9))
    assert found(jp) == [(REWRITTEN, 1, 4)]


def test_the_command_says_intact_or_which_record(
    jp: Target, account: Account, context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell(context, range(2))
    monkeypatch.setattr("cli.main.Target.of", lambda *of: jp)
    good = CliRunner().invoke(app, ["audit", "verify"])
    assert (good.exit_code, good.output.count("intact")) == (0, 2)
    drop(account, {"story": {"S": STORY}, "id": {"S": "run-1#Promoted"}})
    bad = CliRunner().invoke(app, ["audit", "verify", STORY])
    assert "record 2: truncated: the links count 2 records (run-1#Promoted)" in bad.output
    assert "audit trail of intent-classifier is not as it was written" in str(bad.exception)


def test_a_link_without_a_hash_is_a_dropped_one(jp: Target, account: Account, context: Any) -> None:
    tell(context, range(3))
    item = link(account, 2)
    del item["hash"]
    account.dynamodb.put_item(TableName=TABLE, Item=item)
    assert found(jp) == [(DROPPED, 2, 2)]


def test_something_that_is_no_checkpoint_is_named(jp: Target, account: Account, context: Any) -> None:
    tell(context, range(2))
    key = naming.audit_checkpoint(STORY, 2)
    account.put_object(BUCKET, key, b"{}")
    verified = cli_audit.verify_chain(jp, STORY)
    assert not verified.intact
    assert verified.unreadable_checkpoints == (key,)


def test_operator_records_are_a_chain_of_their_own(jp: Target, context: Any) -> None:
    from cli import flags

    for number in range(2):
        flags.audit(jp, story=records.PLATFORM, what="global_ml_freeze=true", run_id=f"op-{number}", detail={})
    assert checkpoint({}, context) == {"signed": {records.PLATFORM: 2}}
    assert cli_audit.verify_chain(jp, records.PLATFORM).intact


def test_verify_names_the_chains_that_there_are(jp: Target) -> None:
    with pytest.raises(Exception, match="unknown audit chain 'intents': allowed are intent-classifier, platform"):
        cli_audit.verify_chain(jp, "intents")

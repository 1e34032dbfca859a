from collections.abc import Iterator

import boto3
import pytest
from moto import mock_aws

from cli import flags
from cli.errors import CliError
from cli.target import Target
from contracts import naming, records
from contracts.audit_table import partition_query

AUDIT = naming.audit_table("jp")


@pytest.fixture
def target(monkeypatch: pytest.MonkeyPatch) -> Iterator[Target]:
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    with mock_aws():
        target = Target.of("jp")
        for flag in flags.all_flags():
            value = "true" if flag.initial else "false"
            target.client("ssm").put_parameter(Name=flag.parameter, Value=value, Type="String")
        boto3.client("dynamodb", region_name="ap-northeast-1").create_table(
            TableName=AUDIT,
            BillingMode="PAY_PER_REQUEST",
            KeySchema=[
                {"AttributeName": records.AUDIT_PARTITION_KEY, "KeyType": "HASH"},
                {"AttributeName": records.AUDIT_SORT_KEY, "KeyType": "RANGE"},
            ],
            AttributeDefinitions=[
                {"AttributeName": records.AUDIT_PARTITION_KEY, "AttributeType": "S"},
                {"AttributeName": records.AUDIT_SORT_KEY, "AttributeType": "S"},
            ],
        )
        yield target


def audit_records(target: Target) -> list[dict[str, dict[str, str]]]:
    """What was recorded, without the links of the audit chain."""
    return list(target.client("dynamodb").query(**partition_query(AUDIT, records.PLATFORM))["Items"])


def freeze(target: Target, value: bool, reason: str = "INC-1") -> flags.FlagChange:
    return flags.write(target, naming.GLOBAL_ML_FREEZE, value, story=records.PLATFORM, reason=reason)


def test_a_freeze_is_written_and_audited_with_its_reason(target: Target) -> None:
    change = freeze(target, True)
    assert flags.read(target)[naming.GLOBAL_ML_FREEZE] == "true"
    (record,) = audit_records(target)
    assert "INC-1" in record["detail"]["S"]
    assert record["id"]["S"].startswith(change.audit_id)


def test_freezing_twice_changes_and_records_nothing_more(target: Target) -> None:
    freeze(target, True)
    again = freeze(target, True)
    assert not again.changed
    assert len(audit_records(target)) == 1


def test_a_write_without_a_reason_is_refused_before_anything_changes(target: Target) -> None:
    with pytest.raises(CliError, match="reason is needed"):
        freeze(target, True, reason=" ")
    assert flags.read(target)[naming.GLOBAL_ML_FREEZE] == "false"


def test_an_unknown_flag_names_the_allowed_ones(target: Target) -> None:
    with pytest.raises(CliError, match="'freeze': allowed are global_ml_freeze, intent_classifier_promotion"):
        flags.write(target, "freeze", True, story=records.PLATFORM, reason="INC-1")


def test_the_freeze_holds_even_when_the_audit_trail_is_gone(target: Target) -> None:
    target.client("dynamodb").delete_table(TableName=AUDIT)
    with pytest.raises(CliError, match="is set, but its audit record"):
        freeze(target, True)
    assert flags.read(target)[naming.GLOBAL_ML_FREEZE] == "true"

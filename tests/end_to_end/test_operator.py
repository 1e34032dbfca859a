"""An operator's day with `mangaassist`: labels, a retrain, questions, switches, a roll-back."""

from __future__ import annotations

import json
import re

import pytest

from cli import flags
from contracts import naming, records
from contracts.inference import check_request_id
from contracts.kill_switches import GLOBAL_FREEZE, promotion_flag
from tests.end_to_end.command_line import mangaassist, refused, told
from tests.support import shop_labels
from tests.support.deployment import FLAGS, SLUG, Deployed

pytestmark = pytest.mark.e2e


def test_labels_are_ingested_and_a_retrain_promotes_a_version_that_answers(jp: Deployed) -> None:
    before = jp.pointer()["version"]
    assert "Ingested" in told(jp, "labels", "ingest", jp.label_file(shop_labels.rows()), "--story", SLUG)
    champion = jp.pointer()["model_uri"]
    # Gentle: two steps at the full rate may make the champion's copy worse, and the gates would say so.
    gentle = ("-p", "WarmStart=champion", "-p", "MaxSteps=2", "-p", "LearningRate=1e-5", "-p", "CalibrationRows=0")
    out = told(jp, "retrain", SLUG, "--wait", *gentle)
    assert "PublishSignedCopy" in out, "the states are shown as they pass"
    assert "Promoted" in out
    after = jp.pointer()["version"]
    assert after != before
    assert pretrained_of_last_training(jp) == f"{champion}pytorch/"
    assert json.loads(told(jp, "invoke", SLUG, "please order the volume"))["model_version"] == after


@pytest.mark.parametrize(("text", "language", "intent"), [
    ("please order the volume", "en", "buy"), ("漫画 返金 最悪", "ja", "complain"),
    ("hello こんにちは 今日", "mixed", "greet")])
def test_an_answer_names_request_version_language_and_intent(
        jp: Deployed, text: str, language: str, intent: str) -> None:
    answer = json.loads(told(jp, "invoke", SLUG, text, "--cohort", "new"))
    assert check_request_id(answer["request_id"])
    assert answer["model_version"] == jp.pointer()["version"]
    assert (answer["language"], answer["intent"], answer["story"]) == (language, intent, SLUG)


def test_status_tells_what_serves_which_flags_are_set_and_what_ran(jp: Deployed) -> None:
    out = told(jp, "status", SLUG)
    assert f"version {jp.pointer()['version']}, promoted" in out
    assert jp.endpoint().config in out
    assert "InService" in out
    for flag, value in FLAGS.items():
        assert re.search(rf"{flag}\s*│\s*{value}", out), out
    assert re.search(r"lease\s*│\s*free", out)


def test_freeze_stops_a_retrain_until_it_is_lifted_and_both_changes_are_audited(jp: Deployed) -> None:
    with jp.serving_unchanged():
        on = told(jp, "freeze", "on", "--reason", "incident 7")
        try:
            assert "true" in told(jp, "status", SLUG)
            assert "SkippedFrozen" in told(jp, "retrain", SLUG, "--wait")
            assert json.loads(told(jp, "invoke", SLUG, "hello"))["intent"] == "greet"
        finally:
            off = told(jp, "freeze", "off", "--reason", "incident 7 is over")
    assert flags.read(jp.target)[GLOBAL_FREEZE.name] == "false"
    reasons = [json.loads(operator_record(jp, text, records.PLATFORM, GLOBAL_FREEZE.name)["detail"])["reason"]
               for text in (on, off)]
    assert reasons == ["incident 7", "incident 7 is over"]


def test_promotion_goes_off_and_on_with_a_record_each_and_twice_changes_nothing(jp: Deployed) -> None:
    flag = promotion_flag(SLUG).name
    off = told(jp, "promotion", "off", SLUG, "--reason", "being looked at")
    try:
        assert flags.read(jp.target)[flag] == "false"
        assert "nothing changed" in told(jp, "promotion", "off", SLUG, "--reason", "again")
    finally:
        on = told(jp, "promotion", "on", SLUG, "--reason", "looked at")
    assert flags.read(jp.target)[flag] == "true"
    for text in (off, on):
        assert operator_record(jp, text, SLUG, flag)


def test_every_record_verifies_up_to_a_head_signed_now_and_one_that_was_changed_is_named(jp: Deployed) -> None:
    told(jp, "audit", "checkpoint")
    out = told(jp, "audit", "verify")
    assert re.search(rf"{SLUG}: intact, [1-9]\d* records, signed to [1-9]", out), out
    assert f"{records.PLATFORM}: intact" in out
    dynamodb, table = jp.aws.client("dynamodb"), naming.audit_table(jp.target.deployment.name)
    record = dynamodb.get_item(TableName=table, Key={
        records.AUDIT_PARTITION_KEY: {"S": SLUG}, records.AUDIT_SORT_KEY: {"S": "first-promotion#promote"}})["Item"]
    dynamodb.put_item(TableName=table, Item={**record, "detail": {"S": "{}"}})
    try:
        done = mangaassist(jp, "audit", "verify", SLUG)
        assert done.code == 1
        assert "first-promotion#promote" in done.out
    finally:
        dynamodb.put_item(TableName=table, Item=record)


def test_rollback_returns_to_the_previous_version(jp: Deployed) -> None:
    jp.with_previous()
    wanted = jp.pointer()["previous"]["version"]
    assert "RolledBack" in told(jp, "rollback", SLUG, "--reason", "the new one misbehaves")
    assert jp.pointer()["version"] == wanted
    assert json.loads(told(jp, "invoke", SLUG, "hello"))["model_version"] == wanted


def test_unknown_names_are_answered_with_the_allowed_ones(jp: Deployed) -> None:
    assert f"allowed are {SLUG}" in refused(jp, "status", "intent-clasifier")
    assert "jp (ap-northeast-1), us (us-east-1), eu (eu-west-1)" in refused(jp, "--deployment", "mars", "status")
    assert "allowed are on, off" in refused(jp, "freeze", "maybe", "--reason", "x")
    assert "not built yet" in refused(jp, "retrain", "reranker")
    assert "a reason is needed" in refused(jp, "freeze", "on", "--reason", " ")


def test_a_retrain_with_an_unknown_hyperparameter_fails_and_the_notification_names_the_error(jp: Deployed) -> None:
    with jp.serving_unchanged():
        done = mangaassist(jp, "retrain", SLUG, "--wait", "-p", "Epoch=1")
    assert done.code == 1
    assert "Failed" in done.out
    assert jp.calls("CreateProcessingJob") == []


def test_a_label_file_with_too_many_bad_rows_is_refused_before_it_is_uploaded(jp: Deployed) -> None:
    rows = [{**row, "label": "purchase"} if n < 20 else row for n, row in enumerate(shop_labels.rows())]
    done = mangaassist(jp, "labels", "ingest", jp.label_file(rows), "--story", SLUG)
    assert done.code == 1
    assert "2.2% of 900 rows are bad" in done.error
    assert "buy, complain, greet" in done.out, "what is allowed is shown"
    assert jp.calls("StartExecution") == []


def pretrained_of_last_training(jp: Deployed) -> str:
    """Where the newest training job took its first weights from."""
    sagemaker = jp.aws.client("sagemaker")
    newest = sagemaker.list_training_jobs(SortBy="CreationTime", SortOrder="Descending")["TrainingJobSummaries"][0]
    job = sagemaker.describe_training_job(TrainingJobName=newest["TrainingJobName"])
    return next(str(channel["DataSource"]["S3DataSource"]["S3Uri"]) for channel in job["InputDataConfig"]
                if channel["ChannelName"] == "pretrained")


def operator_record(jp: Deployed, printed: str, story: str, flag: str) -> dict[str, str]:
    """The audit record that a change of a flag named."""
    found = re.search(r"-> (true|false), audit record (\S+)", printed)
    assert found, printed
    value, record_id = found.groups()
    return jp.audit(record_id, f"{flag}={value}", story=story)

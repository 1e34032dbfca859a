"""Label ingest and data-set freeze over a SQL catalog on a folder: the same code as with Glue."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber
from pyiceberg.catalog.sql import SqlCatalog

from contracts.stories.intent_classifier import INTENT_CLASSIFIER
from model_code.common import iceberg
from model_code.common.iceberg import LabelRecords
from model_code.common.label_history import LabelHistory
from model_code.platform import freeze_dataset, ingest_labels
from model_code.platform.expire_snapshots import HOT, PinUnknown, expire, pinned_snapshots, registered_runs
from model_code.platform.freeze_dataset import freeze, status_of
from model_code.platform.ingest_labels import ingest

STORY, POLICY = INTENT_CLASSIFIER.slug, INTENT_CLASSIFIER.labels
LABELS = ("get_weather", "play_music")
# No row has a customer: the feature store is not asked.
frozen = partial(freeze, STORY, contract=INTENT_CLASSIFIER, features=lambda: pytest.fail("asked for features"))


@pytest.fixture
def records(tmp_path: Path) -> LabelRecords:
    catalog = SqlCatalog("lake", uri=f"sqlite:///{tmp_path}/catalog.db", warehouse=f"file://{tmp_path}/warehouse")
    catalog.create_namespace("labels")
    return LabelRecords(catalog=catalog, database="labels")


def row(number: int, **changes: object) -> dict[str, object]:
    label = LABELS[number % 2]
    return {"id": f"r{number:04}", "text": f"utterance {number}", "label": label, "taxonomy": "snips-v1", **changes}


def incoming(folder: Path, rows: list[dict[str, object]], *, extra: bytes = b"", anonymous: bool = False) -> Path:
    folder.mkdir(parents=True)
    if not anonymous:
        (folder / "provenance.json").write_text(json.dumps({"who": "arn:ann", "why": "ruled by hand"}))
    body = "".join(json.dumps(r) + "\n" for r in rows).encode() + extra
    (folder / "labels.jsonl").write_bytes(body)
    return folder


def take_in(tmp_path: Path, records: LabelRecords, batch: str, rows: list[dict[str, object]], **options: Any) -> dict:
    return ingest(incoming(tmp_path / batch, rows, **options), tmp_path / f"{batch}-quarantine",
                  story=STORY, batch_id=batch, records=records)


def test_good_rows_get_the_next_label_version(tmp_path: Path, records: LabelRecords) -> None:
    first = take_in(tmp_path, records, "a", [row(i) for i in range(200)])
    second = take_in(tmp_path, records, "b", [row(i) for i in range(200, 210)])
    assert (first["status"], first["rows"], first["bad"], first["label_version"]) == ("ingested", 200, 0, 1)
    assert second["label_version"] == 2


def test_a_batch_that_comes_twice_is_appended_once(tmp_path: Path, records: LabelRecords) -> None:
    first = take_in(tmp_path, records, "a", [row(i) for i in range(5)])
    again = ingest(tmp_path / "a", tmp_path / "q2", story=STORY, batch_id="a", records=records)
    assert again == first
    assert len(records.read(STORY)[1]) == 5


def test_more_than_one_percent_bad_rows_append_nothing(tmp_path: Path, records: LabelRecords) -> None:
    rows = [row(i) for i in range(98)]
    answer = take_in(tmp_path, records, "a", rows, extra=b'{"id": "x"}\n\xff\xfe\n')
    assert answer["status"] == "too_many_bad"
    assert answer["reasons"] == {"missing_field": 1, "not_utf8": 1}
    assert records.read(STORY) == (None, [])


def test_bad_rows_go_to_quarantine_with_their_line_and_the_summary_has_counts_only(
    tmp_path: Path, records: LabelRecords,
) -> None:
    secret = "call me at home"
    bad = json.dumps({"id": "x", "text": secret, "label": "nonsense"}).encode() + b"\n"
    answer = take_in(tmp_path, records, "a", [row(i) for i in range(150)], extra=bad)
    assert (answer["status"], answer["bad"]) == ("ingested", 1)
    [quarantined] = [json.loads(x) for x in (tmp_path / "a-quarantine/bad_rows.jsonl").read_text().splitlines()]
    assert (quarantined["row"], quarantined["field"], quarantined["reason"]) == (151, "label", "unknown_label")
    assert secret in quarantined["line"]
    assert secret not in (tmp_path / "a-quarantine/summary.json").read_text()
    assert secret not in json.dumps(answer)


def history_of(records: LabelRecords) -> LabelHistory:
    return LabelHistory(catalog=records.catalog, database=records.database)


def test_an_edit_carries_who_when_why_and_the_previous_value(tmp_path: Path, records: LabelRecords) -> None:
    take_in(tmp_path, records, "a", [row(i) for i in range(5)])
    before = datetime.now(UTC)
    answer = take_in(tmp_path, records, "b", [row(1, label="get_weather"), row(2, text="mended"), row(9)])
    assert (answer["edits"], answer["edited"]) == (2, True)
    edits = history_of(records).edits(STORY)
    assert [(e["id"], e["field"], e["before"], e["after"]) for e in edits] == [
        ("r0001", "label", "play_music", "get_weather"), ("r0002", "text", "utterance 2", "mended")]
    assert {(e["who"], e["why"], e["batch_id"], e["label_version"]) for e in edits} == {
        ("arn:ann", "ruled by hand", "b", 2)}
    assert all(before <= e["at"] <= datetime.now(UTC) for e in edits)


def test_a_batch_that_comes_twice_leaves_its_edits_once(tmp_path: Path, records: LabelRecords) -> None:
    take_in(tmp_path, records, "a", [row(i) for i in range(5)])
    first = take_in(tmp_path, records, "b", [row(1, label="get_weather")])
    assert ingest(tmp_path / "b", tmp_path / "q", story=STORY, batch_id="b", records=records) == first
    assert len(history_of(records).edits(STORY)) == 1


def test_a_changed_label_without_provenance_goes_to_quarantine(tmp_path: Path, records: LabelRecords) -> None:
    take_in(tmp_path, records, "a", [row(i) for i in range(5)])
    rows = [row(i) for i in range(5, 150)] + [row(1, label="get_weather")]
    answer = take_in(tmp_path, records, "b", rows, anonymous=True)
    assert (answer["status"], answer["edited"]) == ("ingested", False)
    assert answer["reasons"] == {"edit_without_provenance": 1}
    [bad] = [json.loads(x) for x in (tmp_path / "b-quarantine/bad_rows.jsonl").read_text().splitlines()]
    assert (bad["row"], bad["field"]) == (146, "label")
    assert '"get_weather"' in bad["line"]
    assert records.known(STORY)["r0001"]["label"] == "play_music"


@pytest.mark.parametrize("text", ["", "[]", '{"who": "ann"}', '{"who": "ann", "why": " "}', '{"who": 1, "why": "x"}'])
def test_a_provenance_that_does_not_say_who_and_why_stops_the_batch(
    tmp_path: Path, records: LabelRecords, text: str,
) -> None:
    folder = incoming(tmp_path / "a", [row(1)])
    (folder / "provenance.json").write_text(text)
    answer = ingest(folder, tmp_path / "q", story=STORY, batch_id="a", records=records)
    assert answer["status"] == "too_many_bad"
    assert "provenance.json: needed is" in answer["detail"]


def test_agreement_of_each_batch_is_kept_per_language(tmp_path: Path, records: LabelRecords) -> None:
    rows = [row(i, annotator_labels=[LABELS[i % 2]] * 2) for i in range(10)]
    rows += [row(i, language="ja", annotator_labels=[LABELS[i % 2]] * 3) for i in range(10, 20)]
    answer = take_in(tmp_path, records, "a", rows)
    assert answer["kappa"] == {"en": 1.0, "ja": 1.0}
    found = [(m["language"], m["method"], m["kappa"], m["rows"]) for m in history_of(records).agreement(STORY)]
    assert sorted(found) == [("en", "cohen", 1.0, 10), ("ja", "fleiss", 1.0, 10)]


def test_label_records_are_partitioned_by_story_source_and_day(tmp_path: Path, records: LabelRecords) -> None:
    take_in(tmp_path, records, "a", [row(1), row(2, source="vendor")])
    parts = [p["partition"] for p in records._table().inspect.partitions().to_pylist()]
    today = datetime.now(UTC).date()
    assert sorted(parts, key=lambda p: p["source"]) == [
        {"story": STORY, "source": source, "day": today} for source in ("programmatic", "vendor")]


def test_an_old_freeze_is_written_again_byte_for_byte(tmp_path: Path, records: LabelRecords) -> None:
    take_in(tmp_path, records, "a", [row(i) for i in range(250)])
    frozen(tmp_path / "then", above=0, records=records)
    take_in(tmp_path, records, "b", [row(7, label="get_weather"), *(row(i) for i in range(250, 260))])
    manifest = json.loads((tmp_path / "then/manifest.json").read_text())
    assert (manifest["label_version"], manifest["schema_version"]) == ({"above": 0, "to": 1}, 1)
    frozen(tmp_path / "again", above=manifest["label_version"]["above"], records=records,
           at_snapshot=int(manifest["snapshot_id"]))
    frozen(tmp_path / "now", above=0, records=records)
    for name in ("dataset.jsonl", "manifest.json"):
        then, again, now = ((tmp_path / folder / name).read_bytes() for folder in ("then", "again", "now"))
        assert then == again != now


def test_a_freeze_at_a_snapshot_that_is_gone_says_so(tmp_path: Path, records: LabelRecords) -> None:
    take_in(tmp_path, records, "a", [row(1)])
    with pytest.raises(LookupError, match="has no snapshot 77"):
        frozen(tmp_path / "out", above=0, records=records, at_snapshot=77)


def test_old_snapshots_go_but_never_one_that_a_registered_model_was_trained_on(
    tmp_path: Path, records: LabelRecords,
) -> None:
    snapshots = [int(take_in(tmp_path, records, batch, [row(i)])["snapshot_id"]) for i, batch in enumerate("abc")]
    hot = expire(records.catalog, "labels", pinned={snapshots[0]}, now=datetime.now(UTC) + HOT - timedelta(minutes=1))
    assert hot == {"label_records": 0}
    gone = expire(records.catalog, "labels", pinned={snapshots[0]}, now=datetime.now(UTC) + HOT + timedelta(minutes=1))
    assert gone == {"label_records": 1}
    assert {s.snapshot_id for s in records._table().snapshots()} == {snapshots[0], snapshots[2]}
    assert [r["id"] for r in records.read(STORY, snapshot_id=snapshots[0])[1]] == ["r0000"]
    assert len(records.read(STORY)[1]) == 3  # no row is lost


def test_registered_models_name_the_snapshots_they_pin() -> None:
    sagemaker = boto3.client("sagemaker", region_name="eu-west-1", aws_access_key_id="x", aws_secret_access_key="x")
    arn = "arn:aws:sagemaker:ap-northeast-1:123456789012:model-package/g/{}"
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    described: dict[str, Any] = {
        "ModelPackageName": "g", "CreationTime": moment, "ModelPackageStatus": "Completed",
        "ModelPackageStatusDetails": {"ValidationStatuses": []}}
    with Stubber(sagemaker) as stub:
        stub.add_response("list_model_packages", {"ModelPackageSummaryList": [
            {"ModelPackageName": "g", "ModelPackageArn": arn.format(n), "CreationTime": moment,
             "ModelPackageStatus": "Completed"} for n in (1, 2)]})
        for n, properties in ((1, {"run_id": "run-1"}), (2, {})):
            stub.add_response("describe_model_package", {
                **described, "ModelPackageArn": arn.format(n), "CustomerMetadataProperties": properties})
        runs = registered_runs(sagemaker, "g")
        assert next(runs) == "run-1"
        with pytest.raises(PinUnknown, match=r"model-package/g/2 names no run_id.*nothing expires"):
            next(runs)
    assert pinned_snapshots(["run-1", "run-2"], lambda run: {"snapshot_id": run[-1]}) == {1, 2}
    with pytest.raises(PinUnknown, match="run run-1 pins snapshot 'None'"):
        pinned_snapshots(["run-1"], lambda run: {})


@pytest.mark.parametrize(("body", "says"), [
    (b"", "the file is empty"),
    (b'{"id": "1", "text": "a", "label": "b", "taxonomy": "klingon-v1"}\n', "unknown taxonomy 'klingon-v1'"),
])
def test_an_unusable_file_is_refused_with_its_reason(
    tmp_path: Path, records: LabelRecords, body: bytes, says: str,
) -> None:
    answer = take_in(tmp_path, records, "a", [], extra=body)
    assert answer["status"] == "too_many_bad"
    assert says in answer["detail"]


def test_two_label_files_in_one_batch_are_refused(tmp_path: Path, records: LabelRecords) -> None:
    folder = incoming(tmp_path / "a", [row(1)])
    (folder / "more.jsonl").write_bytes(b"{}\n")
    answer = ingest(folder, tmp_path / "q", story=STORY, batch_id="a", records=records)
    assert "labels.jsonl, more.jsonl" in answer["detail"]


def test_the_newest_row_of_an_id_wins_and_the_bytes_depend_on_the_labels_only(
    tmp_path: Path, records: LabelRecords,
) -> None:
    take_in(tmp_path, records, "a", [row(i) for i in range(200)])
    take_in(tmp_path, records, "b", [row(7, label="get_weather"), row(3, text="mended")])
    answer = frozen(tmp_path / "one", above=0, records=records)
    frozen(tmp_path / "two", above=1, records=records)
    assert (tmp_path / "one/dataset.jsonl").read_bytes() == (tmp_path / "two/dataset.jsonl").read_bytes()
    rows = [json.loads(x) for x in (tmp_path / "one/dataset.jsonl").read_text().splitlines()]
    assert [r["id"] for r in rows] == sorted(r["id"] for r in rows)
    assert len(rows) == 200
    assert (rows[7]["label"], rows[3]["text"]) == ("get_weather", "mended")
    manifest = json.loads((tmp_path / "one/manifest.json").read_text())
    assert (answer["status"], answer["label_version_to"]) == ("frozen", 2)
    assert manifest["taxonomy"]["name"] == "snips-v1"
    assert manifest["languages"] == {"en": 200}


def test_only_rows_of_the_newest_label_set_are_frozen(tmp_path: Path, records: LabelRecords) -> None:
    take_in(tmp_path, records, "a", [row(i) for i in range(10)])
    other: list[dict[str, object]] = [
        {"id": f"o{i}", "text": f"other {i}", "label": ("x", "y")[i % 2]} for i in range(60)]
    take_in(tmp_path, records, "b", other)
    answer = frozen(tmp_path / "out", above=0, records=records)
    assert answer["rows"] == 60
    assert answer["taxonomy"].startswith("derived-")


def test_no_label_above_the_promoted_version_is_said_but_frozen_all_the_same(
    tmp_path: Path, records: LabelRecords,
) -> None:
    take_in(tmp_path, records, "a", [row(i) for i in range(200)])
    answer = frozen(tmp_path / "out", above=1, records=records)
    assert answer["status"] == "no_new_labels"
    assert (tmp_path / "out/dataset.jsonl").stat().st_size > 0


def test_a_story_without_labels_has_too_few_rows(tmp_path: Path, records: LabelRecords) -> None:
    answer = frozen(tmp_path / "out", above=0, records=records)
    assert (answer["status"], answer["rows"], answer["label_version_to"]) == ("too_few_rows", 0, 0)


def test_annotators_who_disagree_stop_the_freeze(tmp_path: Path, records: LabelRecords) -> None:
    # second annotator right on half of the rows: kappa 0 for two equally frequent labels
    rows = [row(i, annotator_labels=[LABELS[i % 2], LABELS[i // 2 % 2]]) for i in range(200)]
    take_in(tmp_path, records, "a", rows)
    answer = frozen(tmp_path / "out", above=0, records=records)
    assert (answer["status"], answer["kappa"]) == ("low_kappa", {"en": 0.0})


@pytest.mark.parametrize(("kappa", "status"), [
    ({}, "frozen"), ({"en": 0.75, "ja": 0.9}, "frozen"), ({"en": 0.9, "ja": 0.74}, "low_kappa"),
    ({"mixed": 0.1}, "frozen"), ({"en": float("nan")}, "low_kappa"),
])
def test_kappa_is_asked_of_english_and_japanese(kappa: dict[str, float], status: str) -> None:
    assert status_of(500, kappa, newer=True, policy=POLICY) == status


def test_a_batch_that_commits_in_between_takes_the_number_and_ours_takes_the_next(
    tmp_path: Path, records: LabelRecords, monkeypatch: pytest.MonkeyPatch,
) -> None:
    take_in(tmp_path, records, "a", [row(1)])
    to_arrow = iceberg._to_arrow
    interrupted: list[bool] = []

    def while_another_commits(*args: object, **options: object) -> object:
        made = to_arrow(*args, **options)  # type: ignore[arg-type]
        if not interrupted:
            interrupted.append(True)
            take_in(tmp_path, records, "b", [row(2)])
        return made

    monkeypatch.setattr(iceberg, "_to_arrow", while_another_commits)
    answer = take_in(tmp_path, records, "c", [row(3)])
    assert answer["label_version"] == 3
    found = {r["batch_id"]: r["label_version"] for r in records.read(STORY)[1]}
    assert found == {"a": 1, "b": 2, "c": 3}


def test_both_jobs_run_as_commands_and_leave_an_exit_message(
    tmp_path: Path, records: LabelRecords, monkeypatch: pytest.MonkeyPatch,
) -> None:
    for job in (ingest_labels, freeze_dataset):
        monkeypatch.setattr(job, "glue_catalog", lambda warehouse: records.catalog)
    for name, value in (("GLUE_DATABASE", "labels"), ("ICEBERG_WAREHOUSE", "s3://lake/iceberg/"),
                        ("SAGEMAKER_BASE_DIR", str(tmp_path / "ml"))):
        monkeypatch.setenv(name, value)
    message = tmp_path / "ml" / "output" / "message"
    folder = incoming(tmp_path / "batch", [row(i) for i in range(200)])
    where = ["--incoming", str(folder), "--output", str(tmp_path / "q")]
    ingest_labels.main([*where, "--story", STORY, "--batch-id", "b"])
    assert json.loads(message.read_text())["status"] == "ingested"
    freeze_dataset.main(["--story", STORY, "--output", str(tmp_path / "out"), "--label-version-above", "0"])
    assert json.loads(message.read_text())["status"] == "frozen"


def test_the_glue_catalog_follows_the_endpoint_url() -> None:
    catalog = iceberg.glue_catalog("s3://lake/iceberg/", {
        "AWS_ENDPOINT_URL": "http://localhost:4566", "AWS_REGION": "ap-northeast-1"})
    assert catalog.properties["s3.endpoint"] == "http://localhost:4566"
    assert catalog.properties["warehouse"] == "s3://lake/iceberg"
    assert "s3.endpoint" not in iceberg.glue_catalog("s3://lake/x", {"AWS_REGION": "eu-west-1"}).properties

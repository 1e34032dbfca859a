"""The offline store read as of now or as of its last manifest, and the cohorts that a freeze takes from it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from botocore.exceptions import ClientError
from pyiceberg.catalog.sql import SqlCatalog

from contracts.datasets import LabelRow
from contracts.stories.intent_classifier import INTENT_CLASSIFIER
from data import customers, manga14
from model_code.common.feature_store import FeatureRead, FeaturesUnreadable, OfflineStore, check_columns, offline_schema
from model_code.platform.audit_features import audit_dataset
from model_code.platform.dataset_features import Joined, definition_of, join_features, without_features

GROUP = INTENT_CLASSIFIER.cohort_group
NOW = datetime(2026, 6, 1, tzinfo=UTC)
PUT_AT = datetime(2026, 5, 1, tzinfo=UTC)  # what Feature Store stamps


class NoSuchKey(Exception):
    pass


@dataclass
class Account:
    """Feature Store's description, the lake's one small object and a real Iceberg catalog on a folder."""

    catalog: SqlCatalog
    objects: dict[str, bytes]
    fails_with: str = ""

    class exceptions:
        NoSuchKey = NoSuchKey

    def describe_feature_group(self, FeatureGroupName: str) -> dict[str, Any]:
        if self.fails_with:
            raise ClientError({"Error": {"Code": self.fails_with, "Message": "no"}}, "DescribeFeatureGroup")
        return {"OfflineStoreConfig": {"DataCatalogConfig": {"Database": "features", "TableName": "cohort_1"}}}

    def put_object(self, *, Bucket: str, Key: str, Body: bytes, ContentType: str) -> None:
        self.objects[Key] = Body

    def get_object(self, *, Bucket: str, Key: str) -> dict[str, Any]:
        if Key not in self.objects:
            raise NoSuchKey
        body = self.objects[Key]
        return {"Body": type("Body", (), {"read": lambda self: body})()}

    def store(self) -> OfflineStore:
        return OfflineStore(sagemaker=self, s3=self, catalog=lambda: self.catalog, lake="lake", now=lambda: NOW)

    def write(self, *records: dict[str, Any]) -> None:
        name, schema = ("features", "cohort_1"), offline_schema(GROUP)
        table = self.catalog.load_table(name) if self.catalog.table_exists(name) else \
            self.catalog.create_table(name, schema)
        stamped = [{"write_time": PUT_AT, "api_invocation_time": PUT_AT, "is_deleted": False, **r} for r in records]
        table.append(pa.Table.from_pylist(stamped, schema=table.schema().as_arrow()))


@pytest.fixture
def account(tmp_path: Path) -> Account:
    catalog = SqlCatalog("lake", uri=f"sqlite:///{tmp_path}/catalog.db", warehouse=f"file://{tmp_path}/warehouse")
    catalog.create_namespace("features")
    return Account(catalog=catalog, objects={})


def record(day: int, count: int | None, *, who: str = "ann", arrived_h: float | None = 0,
           **more: Any) -> dict[str, Any]:
    happened = datetime(2026, 4, day, tzinfo=UTC)
    arrived = None if arrived_h is None else (happened + timedelta(hours=arrived_h)).isoformat()
    return {"customer_id": who, "event_time": happened.isoformat(), "arrived_at": arrived, "interactions": count,
            **more}


def asked(id_: str, when: str, *, who: str = "ann", cohort: str | None = None) -> LabelRow:
    return LabelRow(id=id_, text="t", label="a", language="en", customer_id=who, asked_at=when, cohort=cohort)


def joined(account: Account, *rows: LabelRow) -> Joined:
    return join_features(rows, account.store().read(GROUP), INTENT_CLASSIFIER)


def test_a_row_has_the_cohort_of_its_moment_whatever_its_label_file_says(account: Account) -> None:
    account.write(record(1, 1), record(10, 7), record(20, 60))
    found = joined(account, asked("a", "2026-04-02T00:00:00Z", cohort="power_user"), asked("b", "2026-04-11T00:00:00Z"),
                   asked("c", "2026-04-21T09:00:00+09:00"))
    assert [row["cohort"] for row in found.rows] == ["new", "returning", "power_user"]
    assert [row["features"]["interactions"] for row in found.rows] == [1, 7, 60]
    assert found.manifest["cohort_from"] == {"feature_store": 3}
    assert found.manifest["status"] == "fresh"


def test_a_count_that_had_not_arrived_was_not_known(account: Account) -> None:
    account.write(record(1, 1), record(10, 7, arrived_h=48))
    found = joined(account, asked("a", "2026-04-11T00:00:00Z"), asked("b", "2026-04-12T00:00:00Z"))
    assert [row["cohort"] for row in found.rows] == ["new", "returning"]


def test_without_an_arrival_a_record_is_known_from_when_feature_store_took_it(account: Account) -> None:
    account.write(record(10, 60, arrived_h=None))
    found = joined(account, asked("a", "2026-04-20T00:00:00Z"), asked("b", "2026-05-01T00:00:00Z"))
    assert [row["cohort"] for row in found.rows] == ["new", "power_user"]
    assert found.manifest["cohort_from"] == {"absent": 1, "feature_store": 1}


def test_a_deleted_and_an_outlived_customer_is_new_again(account: Account) -> None:
    account.write(record(1, 60), record(20, None, is_deleted=True), record(1, 60, who="bob"))
    found = joined(account, asked("a", "2026-04-21T00:00:00Z"), asked("b", "2026-06-30T00:00:00Z", who="bob"),
                   asked("c", "2026-06-30T00:00:01Z", who="bob"))
    assert [row["cohort"] for row in found.rows] == ["new", "power_user", "new"]


def test_a_row_without_a_customer_keeps_the_cohort_of_its_label_file(account: Account) -> None:
    account.write(record(1, 60))
    plain = LabelRow(id="p", text="t", label="a", language="en", cohort="returning")
    found = joined(account, plain, asked("q", "2026-04-02T00:00:00Z"))
    assert [(row["cohort"], row["features"] is None) for row in found.rows] == [("returning", True),
                                                                               ("power_user", False)]
    assert found.manifest["cohorts"] == {"power_user": 1, "returning": 1}
    assert without_features([plain]).manifest == {
        "status": "none", "cohort_from": {"label_file": 1}, "cohorts": {"returning": 1}}


def test_a_group_without_a_record_yet_makes_everybody_new(account: Account) -> None:
    found = joined(account, asked("a", "2026-04-21T00:00:00Z"))
    assert found.rows[0]["cohort"] == "new"
    assert (found.manifest["metadata_location"], found.manifest["feature_rows"]) == ("", 0)


def lose_the_table(account: Account) -> None:
    account.catalog.drop_table(("features", "cohort_1"))


def lose_feature_store(account: Account) -> None:
    account.fails_with = "ServiceUnavailable"


@pytest.mark.parametrize(("lose", "because"), [
    (lose_feature_store, "ServiceUnavailable"), (lose_the_table, "NoSuchTable")])
def test_the_last_good_manifest_stands_in_and_says_since_when(
    account: Account, lose: Callable[[Account], None], because: str,
) -> None:
    account.write(record(1, 60))
    fresh = account.store().read(GROUP)
    account.write(record(2, 61))  # never read: the stale answer does not know of it
    lose(account)
    stale = account.store().read(GROUP)
    assert stale.rows == fresh.rows
    assert stale.to_dict() == {
        **fresh.to_dict(), "status": "stale since 2026-06-01T00:00:00+00:00",
        "stale_since": "2026-06-01T00:00:00+00:00", "stale_because": because}


def test_with_no_manifest_to_stand_in_nothing_is_joined(account: Account) -> None:
    account.write(record(1, 60))
    lose_feature_store(account)
    with pytest.raises(FeaturesUnreadable, match=r"\(ServiceUnavailable\) and no manifest of it was ever read"):
        account.store().read(GROUP)


def test_a_group_that_is_not_deployed_is_no_outage(account: Account) -> None:
    account.fails_with = "ResourceNotFound"
    with pytest.raises(ClientError, match="ResourceNotFound"):
        account.store().read(GROUP)


def test_a_table_that_is_not_as_declared_is_named(account: Account) -> None:
    other = replace(GROUP, features=tuple(replace(f, name="visits") if f.name == "interactions" else f
                                          for f in GROUP.features))
    check_columns(GROUP, offline_schema(GROUP))
    with pytest.raises(ValueError, match="interactions must be long, is missing"):
        check_columns(GROUP, offline_schema(other))


def test_a_manifest_named_later_gives_the_same_rows(account: Account) -> None:
    account.write(record(1, 60))
    then = account.store().read(GROUP)
    account.write(record(2, 61))
    again = account.store().at(GROUP, then.metadata_location)
    assert (again.rows, again.snapshot_id) == (then.rows, then.snapshot_id)


# --- made customers, and the audit of a frozen data set -----------------------------------------------------------


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Joined, FeatureRead, tuple[dict[str, Any], ...]]:
    folder = tmp_path_factory.mktemp("made")
    catalog = SqlCatalog("lake", uri=f"sqlite:///{folder}/catalog.db", warehouse=f"file://{folder}/warehouse")
    catalog.create_namespace("features")
    account = Account(catalog=catalog, objects={})
    given = customers.attach(manga14.generate(rows=42 * 12))
    account.write(*given.history)
    read = account.store().read(GROUP)
    rows = [LabelRow(**{**{name: row.get(name) for name in LabelRow.__dataclass_fields__}, "annotator_labels": ()})
            for row in given.rows]
    return join_features(rows, read, INTENT_CLASSIFIER), read, given.rows


def test_the_store_knows_the_cohort_that_a_made_row_was_written_for(made: Any) -> None:
    found, _, given = made
    assert [row["cohort"] for row in found.rows] == [row["cohort"] for row in given]
    assert set(Counter(row["cohort"] for row in given)) == {"new", "returning", "power_user"}
    assert found.manifest["cohort_from"]["absent"] >= 10


def audited(folder: Path, rows: Any, read: FeatureRead, **options: Any) -> dict[str, Any]:
    folder.mkdir()
    (folder / "dataset.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return audit_dataset(folder, read, INTENT_CLASSIFIER, definition_of(INTENT_CLASSIFIER), seed=0,
                         **{"sample": 10_000, **options})


def test_the_audit_passes_a_frozen_data_set_and_finds_each_planted_row(made: Any, tmp_path: Path) -> None:
    found, read, _ = made
    good = audited(tmp_path / "good", found.rows, read)
    assert good["passed"]
    assert (good["rows"], good["sampled"], good["violations"]) == (504, 504, {})
    newest = max((r for r in read.rows.to_pylist()), key=lambda r: r["event_time"])
    place = next(n for n, row in enumerate(found.rows) if row["customer_id"] == newest["customer_id"])
    future = {**found.rows[place], "cohort": "power_user", "features": {
        "event_time": newest["event_time"].isoformat(), "ingested_at": newest["ingested_at"].isoformat(),
        "interactions": newest["interactions"], "is_deleted": False}}
    bad = audited(tmp_path / "bad", [*found.rows[:place], future, *found.rows[place + 1 :]], read)
    assert not bad["passed"]
    assert bad["violations"] == {"future_event": 1, "late_ingestion": 1}
    assert bad["examples"][0]["id"] == future["id"]
    assert newest["customer_id"] not in json.dumps(bad)


def test_a_cohort_that_the_thresholds_do_not_give_is_found(made: Any, tmp_path: Path) -> None:
    found, read, _ = made
    wrong = {**found.rows[0], "cohort": "new" if found.rows[0]["cohort"] != "new" else "returning"}
    answer = audited(tmp_path / "d", [wrong, *found.rows[1:]], read)
    assert (answer["passed"], answer["violations"]) == (False, {"wrong_cohort": 1})


def test_a_data_set_without_customers_proves_nothing(made: Any, tmp_path: Path) -> None:
    found, read, _ = made
    answer = audited(tmp_path / "d", [{**row, "customer_id": None} for row in found.rows[:5]], read)
    assert (answer["passed"], answer["sampled"]) == (False, 0)

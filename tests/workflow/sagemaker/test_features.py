"""The feature store, online and offline."""

from __future__ import annotations

import json
import time
import uuid

import pytest
from botocore.exceptions import ClientError

from tests.workflow.sagemaker.conftest import allow, wait_for

DEFINITIONS = [
    {"FeatureName": "user", "FeatureType": "String"},
    {"FeatureName": "at", "FeatureType": "Fractional"},
    {"FeatureName": "visits", "FeatureType": "Integral"},
]


@pytest.fixture
def group(aws, bucket, role) -> str:
    name = f"features-{uuid.uuid4().hex[:8]}"
    aws.client("sagemaker").create_feature_group(
        FeatureGroupName=name, RecordIdentifierFeatureName="user", EventTimeFeatureName="at",
        FeatureDefinitions=DEFINITIONS, RoleArn=role, OnlineStoreConfig={"EnableOnlineStore": True},
        OfflineStoreConfig={"S3StorageConfig": {"S3Uri": f"s3://{bucket}/features"}},
    )
    return name


@pytest.fixture(scope="module", autouse=True)
def iceberg(aws, bucket) -> str:
    """A group with an Iceberg table; its first records are on their way while other tests run."""
    name = f"iceberg-{uuid.uuid4().hex[:8]}"
    role = aws.role([
        allow("s3:GetObject", "s3:PutObject", resource=f"arn:aws:s3:::{bucket}/*"),
        allow("s3:ListBucket", resource=f"arn:aws:s3:::{bucket}"),
        allow("glue:GetDatabase", "glue:CreateDatabase", "glue:GetTable", "glue:CreateTable", "glue:UpdateTable")])
    aws.client("sagemaker").create_feature_group(
        FeatureGroupName=name, RecordIdentifierFeatureName="user", EventTimeFeatureName="at",
        FeatureDefinitions=DEFINITIONS, RoleArn=role, OnlineStoreConfig={"EnableOnlineStore": True},
        OfflineStoreConfig={"S3StorageConfig": {"S3Uri": f"s3://{bucket}/iceberg"}, "TableFormat": "Iceberg"},
    )
    put(aws, name, "ann", 200.0, 2)
    aws.client("sagemaker-featurestore-runtime").delete_record(
        FeatureGroupName=name, RecordIdentifierValueAsString="ann", EventTime="300")
    return name


def put(aws, group: str, user: str, at: float, visits: int, **options) -> None:
    record = [{"FeatureName": n, "ValueAsString": str(v)} for n, v in (("user", user), ("at", at), ("visits", visits))]
    aws.client("sagemaker-featurestore-runtime").put_record(FeatureGroupName=group, Record=record, **options)


def get(aws, group: str, user: str, **options) -> dict[str, str]:
    answer = aws.client("sagemaker-featurestore-runtime").get_record(
        FeatureGroupName=group, RecordIdentifierValueAsString=user, **options
    )
    return {f["FeatureName"]: f["ValueAsString"] for f in answer.get("Record", [])}


@pytest.mark.surface("sagemaker:CreateFeatureGroup", "sagemaker-featurestore-runtime:PutRecord",
                     "sagemaker-featurestore-runtime:GetRecord")
def test_the_latest_event_time_wins_whatever_comes_first(aws, group) -> None:
    put(aws, group, "ann", 200.0, 2)
    put(aws, group, "ann", 100.0, 1)
    assert get(aws, group, "ann") == {"user": "ann", "at": "200.0", "visits": "2"}
    assert get(aws, group, "ann", FeatureNames=["visits"]) == {"visits": "2"}
    assert get(aws, group, "nobody") == {}


@pytest.mark.surface("sagemaker-featurestore-runtime:BatchGetRecord")
def test_a_batch_reads_several_records(aws, group) -> None:
    for user in ("a", "b"):
        put(aws, group, user, 1.0, 7)
    wanted = [{"FeatureGroupName": group, "RecordIdentifiersValueAsString": ["a", "b", "c"], "FeatureNames": ["user"]},
              {"FeatureGroupName": "absent", "RecordIdentifiersValueAsString": ["a"]}]
    answer = aws.client("sagemaker-featurestore-runtime").batch_get_record(Identifiers=wanted)
    assert [r["RecordIdentifierValueAsString"] for r in answer["Records"]] == ["a", "b"]
    assert [e["ErrorCode"] for e in answer["Errors"]] == ["ResourceNotFound"]


@pytest.mark.surface("sagemaker-featurestore-runtime:DeleteRecord")
def test_a_deleted_record_stays_deleted_for_older_writes(aws, group) -> None:
    put(aws, group, "bob", 100.0, 1)
    aws.client("sagemaker-featurestore-runtime").delete_record(
        FeatureGroupName=group, RecordIdentifierValueAsString="bob", EventTime="150"
    )
    put(aws, group, "bob", 120.0, 5)
    assert get(aws, group, "bob") == {}
    put(aws, group, "bob", 160.0, 6)
    assert get(aws, group, "bob")["visits"] == "6"


def test_a_record_past_its_time_to_live_is_gone(aws, group) -> None:
    put(aws, group, "old", time.time() - 3600, 1, TtlDuration={"Unit": "Minutes", "Value": 5})
    put(aws, group, "new", time.time(), 1, TtlDuration={"Unit": "Minutes", "Value": 5})
    assert get(aws, group, "old") == {}
    assert get(aws, group, "new")["visits"] == "1"


def test_every_write_reaches_the_offline_store_as_parquet(aws, bucket, group, tmp_path) -> None:
    import pyarrow.parquet

    put(aws, group, "ann", 200.0, 2)
    put(aws, group, "ann", 100.0, 1)
    config = aws.client("sagemaker").describe_feature_group(FeatureGroupName=group)["OfflineStoreConfig"]
    prefix = config["S3StorageConfig"]["ResolvedOutputS3Uri"].removeprefix(f"s3://{bucket}/")
    s3 = aws.client("s3")
    found = wait_for(lambda: s3.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents"), bool)
    assert "/year=1970/month=01/day=01/hour=00/" in found[0]["Key"]
    s3.download_file(bucket, found[0]["Key"], str(tmp_path / "rows.parquet"))
    rows = pyarrow.parquet.read_table(tmp_path / "rows.parquet", partitioning=None).to_pylist()
    found_rows = [(r["user"], r["at"], r["visits"], r["is_deleted"]) for r in rows]
    assert found_rows == [("ann", 200.0, 2, False), ("ann", 100.0, 1, False)]


@pytest.mark.surface("AWS::SageMaker::FeatureGroup: offline Iceberg table in the Glue catalog")
def test_with_iceberg_every_batch_is_a_commit_to_the_groups_glue_table(aws, iceberg, monkeypatch) -> None:
    for name, value in (("ACCESS_KEY_ID", "test"), ("SECRET_ACCESS_KEY", "test"),
                        ("ENDPOINT_URL", aws.config.endpoint_url)):
        monkeypatch.setenv(f"AWS_{name}", value)
    from pyiceberg.catalog import load_catalog

    config = aws.client("sagemaker").describe_feature_group(FeatureGroupName=iceberg)["OfflineStoreConfig"]
    place, glue = config["DataCatalogConfig"], aws.client("glue")

    def written() -> str:
        described = aws.client("sagemaker").describe_feature_group(FeatureGroupName=iceberg)["OfflineStoreStatus"]
        assert described["Status"] == "Active", described
        databases = [d["Name"] for d in glue.get_databases()["DatabaseList"]]
        tables = [t["Name"] for d in databases for t in glue.get_tables(DatabaseName=d)["TableList"]]
        return place["TableName"] if place["TableName"] in tables else ""

    wait_for(written, bool)
    region = {"glue.region": "ap-northeast-1", "s3.region": "ap-northeast-1", "s3.endpoint": aws.config.endpoint_url}
    table = load_catalog("test", **{"type": "glue", **region}).load_table((place["Database"], place["TableName"]))
    assert f"{table.location()}/data" == config["S3StorageConfig"]["ResolvedOutputS3Uri"]
    assert [str(f.field_type) for f in table.schema().fields] == [
        "string", "double", "long", "timestamptz", "timestamptz", "boolean"]
    rows = wait_for(lambda: table.refresh().scan().to_arrow().to_pylist(), lambda found: len(found) == 2)
    assert [(r["user"], r["at"], r["visits"], r["is_deleted"]) for r in rows] == [
        ("ann", 200.0, 2, False), ("ann", 300.0, None, True)]
    assert rows[0]["api_invocation_time"].timestamp() == pytest.approx(time.time(), abs=120)


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ({"user": "a"}, "value for at"),
        ({"user": "a", "at": "1", "visits": "many"}, "visits must be Integral"),
        ({"user": "a", "at": "1", "color": "x"}, "color is not defined"),
        ({"user": "a", "at": "yesterday"}, "epoch seconds or ISO-8601|must be Fractional"),
    ],
)
def test_a_wrong_record_is_refused(aws, group, record: dict[str, str], words: str) -> None:
    values = [{"FeatureName": k, "ValueAsString": v} for k, v in record.items()]
    with pytest.raises(ClientError, match=words):
        aws.client("sagemaker-featurestore-runtime").put_record(FeatureGroupName=group, Record=values)


def test_features_can_be_added_only(aws, group) -> None:
    sagemaker = aws.client("sagemaker")
    addition = [{"FeatureName": "city", "FeatureType": "String"}]
    sagemaker.update_feature_group(FeatureGroupName=group, FeatureAdditions=addition)
    names = [d["FeatureName"] for d in sagemaker.describe_feature_group(FeatureGroupName=group)["FeatureDefinitions"]]
    assert names == ["user", "at", "visits", "city"]
    with pytest.raises(ClientError, match="city already exists"):
        sagemaker.update_feature_group(FeatureGroupName=group, FeatureAdditions=addition)


def test_a_reader_needs_the_grant_on_the_group(aws, group) -> None:
    put(aws, group, "ann", 1.0, 1)
    other = "arn:aws:sagemaker:*:*:feature-group/other"
    reader = aws.as_role("sagemaker-featurestore-runtime", aws.role([allow("sagemaker:GetRecord", resource=other)]))
    with pytest.raises(ClientError, match="AccessDenied"):
        reader.get_record(FeatureGroupName=group, RecordIdentifierValueAsString="ann")


def test_a_role_that_may_not_write_blocks_the_offline_store(aws, bucket) -> None:
    name, sagemaker = f"blocked-{uuid.uuid4().hex[:6]}", aws.client("sagemaker")
    sagemaker.create_feature_group(
        FeatureGroupName=name, RecordIdentifierFeatureName="user", EventTimeFeatureName="at",
        FeatureDefinitions=DEFINITIONS, RoleArn=aws.role([allow("s3:GetObject")]),
        OfflineStoreConfig={"S3StorageConfig": {"S3Uri": f"s3://{bucket}/features"}},
    )
    put(aws, name, "ann", 1.0, 1)
    read = lambda: sagemaker.describe_feature_group(FeatureGroupName=name)["OfflineStoreStatus"]  # noqa: E731
    assert "AccessDenied" in json.dumps(wait_for(read, lambda s: s["Status"] == "Blocked"))

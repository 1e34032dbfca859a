"""A feature group's offline store, read as of now: every record, in the columns of a point-in-time join.

When Feature Store or its catalog does not answer, the Iceberg manifest that was last read stands in: it lies in S3
beside the data, needs no catalog, and the answer says since when it is stale. Reading writes that manifest's name down.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import boto3
import pyarrow as pa
import pyarrow.compute as pc
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import NoSuchTableError
from pyiceberg.schema import Schema
from pyiceberg.table import StaticTable, Table
from pyiceberg.types import (
    BooleanType,
    DoubleType,
    LongType,
    NestedField,
    PrimitiveType,
    StringType,
    TimestamptzType,
)

from contracts import naming
from contracts.features import API_INVOCATION_TIME, INGESTED_AT, IS_DELETED, STRING, FeatureGroupContract
from model_code.common.iceberg import glue_catalog

_TYPES: dict[str, PrimitiveType] = {"string": StringType(), "long": LongType(), "double": DoubleType(),
                                    "timestamp": TimestamptzType(), "boolean": BooleanType()}
FRESH = "fresh"  # a manifest's `features.status`, when it is not `stale since ...`
_INSTANT = pa.timestamp("us", "UTC")
_UNREACHABLE = (ClientError, BotoCoreError, OSError)  # of AWS APIs; Arrow says OSError when S3 does not answer
_ABSENT = ("ResourceNotFound", "ResourceNotFoundException")  # an answer: nothing was unreachable


class FeaturesUnreadable(RuntimeError):
    """The store can't be read and nothing stands in; the message says what was tried."""


def offline_schema(group: FeatureGroupContract) -> Schema:
    """The offline table as declared: identifier and event time are always there."""
    always = (group.record_identifier, group.event_time)
    return Schema(*(NestedField(number, name, _TYPES[kind], required=name in always)
                    for number, (name, kind) in enumerate(group.offline_columns().items(), start=1)))


@dataclass(frozen=True, kw_only=True)
class FeatureRead:
    """`rows`: identifier, event time, INGESTED_AT, values and IS_DELETED. Without a table yet they are empty."""

    rows: pa.Table
    group: str
    metadata_location: str  # of the Iceberg manifest; empty without a table
    snapshot_id: str
    stale_since: str = ""  # when the manifest was last known to be the newest; empty: it is now
    stale_because: str = ""  # the error's code or class

    def to_dict(self) -> dict[str, str]:
        """What a data set's manifest says of the features that it was joined with."""
        stale = {"stale_since": self.stale_since, "stale_because": self.stale_because} if self.stale_since else {}
        return {"group": self.group, "metadata_location": self.metadata_location, "snapshot_id": self.snapshot_id,
                "status": f"stale since {self.stale_since}" if self.stale_since else FRESH, **stale}


@dataclass(frozen=True, kw_only=True)
class OfflineStore:
    """`sagemaker` and `s3` are boto3 clients; `catalog` is called when it is needed; `lake` is a bucket's name."""

    sagemaker: Any
    s3: Any
    catalog: Callable[[], Catalog]
    lake: str
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    def read(self, group: FeatureGroupContract) -> FeatureRead:
        """All records of the group.

        Raises
        ------
        FeaturesUnreadable
            The store does not answer, and no manifest of it was ever read.
        ValueError
            The table lacks a declared column, or has it of another type.
        """
        try:
            table, because = self._table(group), ""
        except _UNREACHABLE as error:
            code = error.response["Error"]["Code"] if isinstance(error, ClientError) else type(error).__name__
            if code in _ABSENT:
                raise
            table, because = None, code
        except NoSuchTableError:
            table, because = None, "NoSuchTable"
        if table is not None:
            self._remember(group, table)
            return _read(group, table)
        known = self._last_good(group)
        if known is not None:
            stale = _read(group, StaticTable.from_metadata(known["metadata_location"], self.catalog().properties))
            return replace(stale, stale_since=known["read_at"], stale_because=because)
        if because == "NoSuchTable":  # the group is there, and nobody has put a record yet
            return FeatureRead(rows=_columns(group, offline_schema(group).as_arrow().empty_table()),
                               group=group.resource_name, metadata_location="", snapshot_id="")
        raise FeaturesUnreadable(
            f"feature group {group.resource_name} can't be read ({because}) and no manifest of it was ever read: a "
            "data set without its features would call every customer new. Run again when Feature Store answers")

    def at(self, group: FeatureGroupContract, metadata_location: str) -> FeatureRead:
        """The records that a data set was joined with, by the manifest that it names; no catalog is asked."""
        return _read(group, StaticTable.from_metadata(metadata_location, self.catalog().properties))

    def _table(self, group: FeatureGroupContract) -> Table:
        described = self.sagemaker.describe_feature_group(FeatureGroupName=group.resource_name)
        place = described["OfflineStoreConfig"]["DataCatalogConfig"]
        return self.catalog().load_table((place["Database"], place["TableName"]))

    def _remember(self, group: FeatureGroupContract, table: Table) -> None:
        note = {"metadata_location": table.metadata_location, "read_at": self.now().isoformat(timespec="seconds")}
        self.s3.put_object(Bucket=self.lake, Key=naming.last_good_features(group.namespace, group.name),
                           Body=json.dumps(note).encode(), ContentType="application/json")

    def _last_good(self, group: FeatureGroupContract) -> dict[str, str] | None:
        key = naming.last_good_features(group.namespace, group.name)
        try:
            return dict(json.loads(self.s3.get_object(Bucket=self.lake, Key=key)["Body"].read()))
        except self.s3.exceptions.NoSuchKey:
            return None


def offline_store(warehouse: str) -> OfflineStore:
    """The account's, with the job's own credentials. `warehouse`: any s3:// path of the lake."""
    bucket = warehouse.removeprefix("s3://").split("/", 1)[0]
    patience = Config(retries={"total_max_attempts": 3, "mode": "standard"})  # then the last good manifest stands in
    return OfflineStore(
        sagemaker=boto3.client("sagemaker", config=patience), s3=boto3.client("s3"), lake=bucket,
        catalog=lambda: glue_catalog(warehouse))


def check_columns(group: FeatureGroupContract, found: Schema) -> None:
    """ValueError when the table is not as declared. Times of Feature Store may lack a zone: they are UTC."""
    has = {field.name: str(field.field_type).replace("timestamptz", "timestamp").replace("int", "long")
           for field in found.fields}
    wrong = [f"{name} must be {kind}, is {has.get(name, 'missing')}"
             for name, kind in group.offline_columns().items() if has.get(name) != kind]
    if wrong:
        raise ValueError(f"the offline store of {group.resource_name} is not as its contract declares it: "
                         f"{'; '.join(wrong)}")


def _read(group: FeatureGroupContract, table: Table) -> FeatureRead:
    check_columns(group, table.schema())
    snapshot = table.current_snapshot()
    wanted = tuple(name for name in group.offline_columns() if name != "write_time")
    return FeatureRead(rows=_columns(group, table.scan(selected_fields=wanted).to_arrow()), group=group.resource_name,
                       metadata_location=table.metadata_location,
                       snapshot_id=str(snapshot.snapshot_id) if snapshot else "")


def _columns(group: FeatureGroupContract, raw: pa.Table) -> pa.Table:
    types = {feature.name: feature.type for feature in group.features}
    stamped = _instant(raw[API_INVOCATION_TIME], API_INVOCATION_TIME)
    known = pc.coalesce(_times(raw, group.arrival, types), stamped) if group.arrival else stamped
    return pa.table({
        group.record_identifier: raw[group.record_identifier], group.event_time: _times(raw, group.event_time, types),
        INGESTED_AT: known, **{name: raw[name] for name in group.values}, IS_DELETED: raw[IS_DELETED]})


def _times(raw: pa.Table, name: str, types: dict[str, str]) -> pa.ChunkedArray:
    if types[name] != STRING:
        return pc.round(pc.multiply(raw[name], 1e6)).cast(pa.int64()).cast(_INSTANT)
    return _instant(raw[name], name)


def _instant(column: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    try:
        return column.cast(_INSTANT)  # a time without a zone is one that AWS stamped: UTC
    except pa.ArrowInvalid as error:
        raise ValueError(f"feature {name!r} must be ISO-8601 with a zone: {str(error)[:200]}") from error

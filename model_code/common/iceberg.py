"""`label_records`, the append-only Iceberg table of every label ever taken in.

pyiceberg's Glue catalog on AWS and in the embedded AWS; a test hands in a SQL catalog on a folder
instead. A label is never changed: a newer row with the same id wins, and `label_version` (one per
batch, ascending within a story) says which is newer.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa
from pyiceberg.catalog import Catalog, load_catalog
from pyiceberg.exceptions import CommitFailedException, NoSuchTableError, TableAlreadyExistsError
from pyiceberg.expressions import And, EqualTo, LessThan
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.transforms import IdentityTransform
from pyiceberg.types import DateType, ListType, LongType, NestedField, StringType, TimestamptzType

from contracts.datasets import LabelRow
from contracts.naming import LABEL_RECORDS

COMMIT_ATTEMPTS = 5
EDITABLE = ("label", "text", "language")  # what training reads of a row; a change of these is an edit

SCHEMA = Schema(
    NestedField(1, "story", StringType(), required=True),
    NestedField(2, "id", StringType(), required=True),
    NestedField(3, "text", StringType(), required=True),
    NestedField(4, "label", StringType(), required=True),
    NestedField(5, "language", StringType(), required=True),
    NestedField(6, "cohort", StringType(), required=False),
    NestedField(7, "daypart", StringType(), required=False),
    NestedField(8, "annotator_labels", ListType(9, StringType(), element_required=True), required=True),
    NestedField(10, "group_id", StringType(), required=False),
    NestedField(11, "source", StringType(), required=True),
    NestedField(12, "label_version", LongType(), required=True),
    NestedField(13, "batch_id", StringType(), required=True),
    NestedField(14, "taxonomy", StringType(), required=True),  # JSON of the whole label set
    NestedField(15, "ingested_at", TimestamptzType(), required=True),
    # Of ingested_at, in UTC. A column of its own: Iceberg's day transform needs a native library in each image.
    NestedField(16, "day", DateType(), required=True),
    NestedField(17, "customer_id", StringType(), required=False),
    NestedField(18, "asked_at", StringType(), required=False),  # ISO-8601, as the label file had it
)
# No retries by the library: it would commit our rows again under the label version that the other
# writer has taken meanwhile. `append` below looks again instead.
_PROPERTIES = {"format-version": "2", "commit.retry.num-retries": "0"}


def partitioned_by(schema: Schema, *columns: str) -> PartitionSpec:
    return PartitionSpec(*(
        PartitionField(source_id=schema.find_field(name).field_id, field_id=1000 + n, transform=IdentityTransform(),
                       name=name) for n, name in enumerate(columns)))


_PARTITIONS = partitioned_by(SCHEMA, "story", "source", "day")


def open_table(catalog: Catalog, name: str, schema: Schema, partitions: PartitionSpec) -> Table:
    """The table, made at first use; the Glue database itself belongs to the data stack."""
    try:
        return catalog.load_table(name)
    except NoSuchTableError:
        try:
            return catalog.create_table(name, schema=schema, partition_spec=partitions, properties=_PROPERTIES)
        except TableAlreadyExistsError:  # another batch made it between our two calls
            return catalog.load_table(name)


def _with_new_columns(table: Table, schema: Schema) -> Table:
    """A table of an older release gets the optional columns that came since; rows of then have nulls there."""
    if not {field.name for field in schema.fields} <= {field.name for field in table.schema().fields}:
        with table.update_schema() as update:
            update.union_by_name(schema)
    return table


@dataclass(frozen=True, kw_only=True)
class Appended:
    label_version: int
    snapshot_id: int
    already_there: bool


def glue_catalog(warehouse: str, environ: Mapping[str, str] | None = None) -> Catalog:
    """The account's Glue catalog with its tables below `warehouse`, an s3:// prefix.

    AWS_ENDPOINT_URL moves S3 too: pyiceberg's file system is Arrow's, which boto3's settings don't reach.
    """
    env = os.environ if environ is None else environ
    properties = {"type": "glue", "warehouse": warehouse.rstrip("/")}
    endpoint = env.get("AWS_ENDPOINT_URL_S3") or env.get("AWS_ENDPOINT_URL")
    if endpoint:
        properties["s3.endpoint"] = endpoint
    region = env.get("AWS_REGION") or env.get("AWS_DEFAULT_REGION")
    if region:
        properties |= {"s3.region": region, "glue.region": region}
    return load_catalog("lake", **properties)


def row_filter(story: str, batch_id: str | None = None) -> EqualTo | And:
    only = EqualTo("story", story)  # type: ignore[arg-type,call-arg]
    return only if batch_id is None else And(only, EqualTo("batch_id", batch_id))  # type: ignore[arg-type,call-arg]


@dataclass(frozen=True, kw_only=True)
class LabelRecords:
    """The table through one catalog."""

    catalog: Catalog
    database: str

    @property
    def name(self) -> str:
        return f"{self.database}.{LABEL_RECORDS}"

    def _table(self) -> Table:
        return open_table(self.catalog, self.name, SCHEMA, _PARTITIONS)

    def append(self, story: str, batch_id: str, rows: Sequence[LabelRow], *, taxonomy: str) -> Appended:
        """Append one batch as the next label version; a batch that is already there is left alone.

        Another writer's commit in between makes ours fail: look again and take the next number.
        """
        for attempt in range(COMMIT_ATTEMPTS):
            table = _with_new_columns(self._table(), SCHEMA)  # here only: a reader has no right to change it
            there = self._versions(table, story, batch_id)
            if there:
                return Appended(label_version=max(there), snapshot_id=_snapshot(table), already_there=True)
            version = max(self._versions(table, story), default=0) + 1
            try:
                table.append(_to_arrow(table, rows, story=story, batch_id=batch_id, taxonomy=taxonomy, version=version))
            except CommitFailedException:
                if attempt + 1 == COMMIT_ATTEMPTS:
                    raise
                continue
            return Appended(label_version=version, snapshot_id=_snapshot(table), already_there=False)
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _versions(self, table: Table, story: str, batch_id: str | None = None) -> list[int]:
        scan = table.scan(row_filter=row_filter(story, batch_id), selected_fields=("label_version",))
        return [int(v) for v in scan.to_arrow()["label_version"].unique().to_pylist()]

    def known(self, story: str, *, below: int | None = None) -> dict[str, dict[str, Any]]:
        """id -> its newest row (of those with a label version below `below`), for what an edit may change."""
        rows: Any = row_filter(story)
        if below is not None:
            rows = And(rows, LessThan("label_version", below))  # type: ignore[arg-type,call-arg]
        found = self._table().scan(row_filter=rows, selected_fields=("id", "label_version", *EDITABLE)).to_arrow()
        return {row["id"]: row for row in sorted(found.to_pylist(), key=lambda r: r["label_version"])}

    def read(self, story: str, *, snapshot_id: int | None = None) -> tuple[int | None, list[dict[str, Any]]]:
        """(snapshot id, the story's rows at that snapshot); no snapshot when nothing was ever appended.

        The newest snapshot unless one is named. LookupError when that one has expired.
        """
        table = self._table()
        snapshot = table.current_snapshot() if snapshot_id is None else table.snapshot_by_id(snapshot_id)
        if snapshot is None and snapshot_id is not None:
            raise LookupError(f"{self.name} has no snapshot {snapshot_id} (any more): only what registered models "
                              "were trained on outlives 18 months")
        if snapshot is None:
            return None, []
        found = table.scan(row_filter=row_filter(story), snapshot_id=snapshot.snapshot_id).to_arrow()
        return snapshot.snapshot_id, found.to_pylist()


def _snapshot(table: Table) -> int:
    snapshot = table.current_snapshot()
    return snapshot.snapshot_id if snapshot else 0


def _to_arrow(
    table: Table, rows: Iterable[LabelRow], *, story: str, batch_id: str, taxonomy: str, version: int,
) -> pa.Table:
    now = datetime.now(UTC)
    day: date = now.date()
    shared = {"story": story, "batch_id": batch_id, "taxonomy": taxonomy, "label_version": version,
              "ingested_at": now, "day": day}
    # The table's own schema: the catalog numbers the fields anew when it creates a table.
    return pa.Table.from_pylist([{**row.to_dict(), **shared} for row in rows], schema=table.schema().as_arrow())

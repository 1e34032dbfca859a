"""`label_records`, the append-only Iceberg table of every label ever taken in.

pyiceberg's Glue catalog on AWS and in the embedded AWS; a test hands in a SQL catalog on a folder
instead. A label is never changed: a newer row with the same id wins, and `label_version` (one per
batch, ascending within a story) says which is newer.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
from pyiceberg.catalog import Catalog, load_catalog
from pyiceberg.exceptions import CommitFailedException, NoSuchTableError, TableAlreadyExistsError
from pyiceberg.expressions import And, EqualTo
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.transforms import IdentityTransform
from pyiceberg.types import ListType, LongType, NestedField, StringType, TimestamptzType

from contracts.datasets import LabelRow
from contracts.naming import LABEL_RECORDS

COMMIT_ATTEMPTS = 5

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
)
_PARTITIONS = PartitionSpec(PartitionField(source_id=1, field_id=1000, transform=IdentityTransform(), name="story"))
# No retries by the library: it would commit our rows again under the label version that the other
# writer has taken meanwhile. `append` below looks again instead.
_PROPERTIES = {"format-version": "2", "commit.retry.num-retries": "0"}


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


def _row_filter(story: str, batch_id: str | None = None) -> EqualTo | And:
    only = EqualTo("story", story)  # type: ignore[arg-type,call-arg]
    return only if batch_id is None else And(only, EqualTo("batch_id", batch_id))  # type: ignore[arg-type,call-arg]


@dataclass(frozen=True, kw_only=True)
class LabelRecords:
    """The table through one catalog; the Glue database itself belongs to the data stack."""

    catalog: Catalog
    database: str

    @property
    def name(self) -> str:
        return f"{self.database}.{LABEL_RECORDS}"

    def _table(self) -> Table:
        try:
            return self.catalog.load_table(self.name)
        except NoSuchTableError:
            try:
                return self.catalog.create_table(self.name, schema=SCHEMA, partition_spec=_PARTITIONS,
                                                 properties=_PROPERTIES)
            except TableAlreadyExistsError:  # another batch made it between our two calls
                return self.catalog.load_table(self.name)

    def append(self, story: str, batch_id: str, rows: Sequence[LabelRow], *, taxonomy: str) -> Appended:
        """Append one batch as the next label version; a batch that is already there is left alone.

        Another writer's commit in between makes ours fail: look again and take the next number.
        """
        for attempt in range(COMMIT_ATTEMPTS):
            table = self._table()
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
        scan = table.scan(row_filter=_row_filter(story, batch_id), selected_fields=("label_version",))
        return [int(v) for v in scan.to_arrow()["label_version"].unique().to_pylist()]

    def read(self, story: str) -> tuple[int | None, list[dict[str, Any]]]:
        """(snapshot id, the story's rows at that snapshot); no snapshot when nothing was ever appended."""
        table = self._table()
        snapshot = table.current_snapshot()
        if snapshot is None:
            return None, []
        found = table.scan(row_filter=_row_filter(story), snapshot_id=snapshot.snapshot_id).to_arrow()
        return snapshot.snapshot_id, found.to_pylist()


def _snapshot(table: Table) -> int:
    snapshot = table.current_snapshot()
    return snapshot.snapshot_id if snapshot else 0


def _to_arrow(
    table: Table, rows: Iterable[LabelRow], *, story: str, batch_id: str, taxonomy: str, version: int,
) -> pa.Table:
    now = datetime.now(UTC)
    shared = {"story": story, "batch_id": batch_id, "taxonomy": taxonomy, "label_version": version, "ingested_at": now}
    # The table's own schema: the catalog numbers the fields anew when it creates a table.
    return pa.Table.from_pylist([{**row.to_dict(), **shared} for row in rows], schema=table.schema().as_arrow())

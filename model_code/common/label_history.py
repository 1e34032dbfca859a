"""`label_edits` and `iaa_metrics`, beside `label_records` in the same catalog and as append-only.

An edit is a row of a batch that changes what an older row of the same id said: who, when, why and both values.
A batch is written to each table once, whatever is retried.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.types import DoubleType, LongType, NestedField, StringType, TimestamptzType

from contracts.agreement import Agreement
from contracts.datasets import LabelRow
from contracts.naming import IAA_METRICS, LABEL_EDITS
from model_code.common.iceberg import COMMIT_ATTEMPTS, EDITABLE, open_table, partitioned_by, row_filter


@dataclass(frozen=True, kw_only=True)
class Provenance:
    who: str  # an ARN, a vendor, a labelling function
    why: str


@dataclass(frozen=True, kw_only=True)
class Edit:
    id: str
    field: str
    before: str
    after: str


_SHARED = (
    NestedField(1, "story", StringType(), required=True),
    NestedField(2, "batch_id", StringType(), required=True),
    NestedField(3, "label_version", LongType(), required=True),
    NestedField(4, "at", TimestamptzType(), required=True),
)
EDITS = Schema(
    *_SHARED,
    *(NestedField(n, name, StringType(), required=True)
      for n, name in enumerate(("id", "field", "before", "after", "who", "why"), start=5)),
)
AGREEMENT = Schema(
    *_SHARED,
    NestedField(5, "language", StringType(), required=True),
    NestedField(6, "method", StringType(), required=True),
    NestedField(7, "kappa", DoubleType(), required=True),
    NestedField(8, "rows", LongType(), required=True),
    NestedField(9, "annotators", LongType(), required=True),
    NestedField(10, "note", StringType(), required=True),
)


def edits_of(rows: Iterable[LabelRow], known: Mapping[str, Mapping[str, Any]]) -> list[Edit]:
    """What `rows` change of the newest rows that are there; a new id is no edit."""
    return [Edit(id=row.id, field=field, before=str(known[row.id][field]), after=str(getattr(row, field)))
            for row in rows if row.id in known for field in EDITABLE if known[row.id][field] != getattr(row, field)]


@dataclass(frozen=True, kw_only=True)
class LabelHistory:
    catalog: Catalog
    database: str

    def add_edits(self, story: str, batch_id: str, edits: Sequence[Edit], *, label_version: int,
                  provenance: Provenance) -> None:
        rows = [{**asdict(edit), **asdict(provenance)} for edit in edits]
        self._append_once(LABEL_EDITS, EDITS, story, batch_id, label_version, rows)

    def add_agreement(self, story: str, batch_id: str, found: Iterable[Agreement], *, label_version: int) -> None:
        self._append_once(IAA_METRICS, AGREEMENT, story, batch_id, label_version, [asdict(one) for one in found])

    def edits(self, story: str) -> list[dict[str, Any]]:
        return self._read(LABEL_EDITS, EDITS, story)

    def agreement(self, story: str) -> list[dict[str, Any]]:
        return self._read(IAA_METRICS, AGREEMENT, story)

    def _table(self, name: str, schema: Schema) -> Table:
        return open_table(self.catalog, f"{self.database}.{name}", schema, partitioned_by(schema, "story"))

    def _read(self, name: str, schema: Schema, story: str) -> list[dict[str, Any]]:
        found = self._table(name, schema).scan(row_filter=row_filter(story)).to_arrow().to_pylist()
        return sorted(found, key=lambda row: int(row["label_version"]))

    def _append_once(self, name: str, schema: Schema, story: str, batch_id: str, label_version: int,
                     rows: Sequence[Mapping[str, Any]]) -> None:
        """Nothing when there is nothing, or when the batch is there; look again when another writer came first."""
        if not rows:
            return
        shared = {"story": story, "batch_id": batch_id, "label_version": label_version, "at": datetime.now(UTC)}
        for attempt in range(COMMIT_ATTEMPTS):
            table = self._table(name, schema)
            if table.scan(row_filter=row_filter(story, batch_id), selected_fields=("batch_id",)).to_arrow().num_rows:
                return
            try:
                table.append(pa.Table.from_pylist([{**row, **shared} for row in rows],
                                                  schema=table.schema().as_arrow()))
                return
            except CommitFailedException:
                if attempt + 1 == COMMIT_ATTEMPTS:
                    raise

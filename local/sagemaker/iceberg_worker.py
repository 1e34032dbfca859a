"""Writes one batch of an offline store into its Iceberg table; a process of its own, as pyiceberg is large.

    python -P iceberg_worker.py < BATCH

BATCH: a line of JSON {"database", "table", "location", "columns": [[name, type]], "required": [names]}, then one row a
line. AWS_* of the environment say where and as whom. The table is made with the first batch. It is not partitioned:
AWS cuts by day of event time, which needs a native library here and changes no answer.
"""

from __future__ import annotations

import json
import os
import sys
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
from pyiceberg.catalog import Catalog, load_catalog
from pyiceberg.exceptions import NoSuchTableError
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.types import BooleanType, DoubleType, LongType, NestedField, StringType, TimestamptzType

_TYPES = {"Integral": LongType(), "Fractional": DoubleType(), "String": StringType(), "Time": TimestamptzType(),
          "Flag": BooleanType()}


def main() -> None:
    head, *rows = (json.loads(line) for line in sys.stdin)
    region = os.environ["AWS_REGION"]
    catalog = load_catalog("offline", **{"type": "glue", "s3.endpoint": os.environ["AWS_ENDPOINT_URL"],
                                         "s3.region": region, "glue.region": region})
    table = _table(catalog, head)
    schema = table.schema().as_arrow()
    table.append(pa.table([pa.array([_value(row.get(f.name), f.type) for row in rows], f.type) for f in schema],
                          schema=schema))


def _table(catalog: Catalog, head: dict[str, Any]) -> Table:
    name = (head["database"], head["table"])
    try:
        table = catalog.load_table(name)
    except NoSuchTableError:
        fields = [NestedField(number, column, _TYPES[kind], required=column in head["required"])
                  for number, (column, kind) in enumerate(head["columns"], start=1)]
        catalog.create_namespace_if_not_exists(head["database"])
        return catalog.create_table(name, schema=Schema(*fields), location=head["location"],
                                    properties={"format-version": "2"})
    known = {field.name for field in table.schema().fields}
    if added := [(column, kind) for column, kind in head["columns"] if column not in known]:
        with table.update_schema() as update:
            for column, kind in added:
                update.add_column(column, _TYPES[kind])
    return table


def _value(value: Any, kind: pa.DataType) -> Any:
    if value is None or pa.types.is_boolean(kind):
        return value
    if pa.types.is_timestamp(kind):
        return datetime.fromtimestamp(value / 1000, UTC)
    if pa.types.is_integer(kind):
        return int(value)
    return float(value) if pa.types.is_floating(kind) else str(value)


if __name__ == "__main__":
    main()

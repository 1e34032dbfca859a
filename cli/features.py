"""Feature records: put a file of them, and wait until the offline store has them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from cli.errors import CliError
from cli.target import Target
from contracts.features import FeatureGroupContract

WRITERS = 8  # calls at a time
POLL_S = 0.25
OFFLINE_TIMEOUT_S = 20 * 60.0  # AWS writes within 15 minutes


def read_records(path: Path, group: FeatureGroupContract) -> list[dict[str, Any]]:
    """The records of a JSON lines file; CliError names row and feature when one does not fit the group."""
    if not path.is_file():
        raise CliError(f"{path}: there is no such file")
    known = [feature.name for feature in group.features]
    found = []
    for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1):
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise CliError(f"{path.name}, row {number}: invalid JSON ({error.msg})") from None
        strangers = sorted(set(record) - set(known)) if isinstance(record, dict) else ["(not an object)"]
        missing = [name for name in (group.record_identifier, group.event_time) if name not in record]
        if strangers or missing:
            raise CliError(f"{path.name}, row {number}: unknown {strangers}, missing {missing}; features of "
                           f"{group.name} are {', '.join(known)}")
        found.append(record)
    return found


def put(target: Target, group: FeatureGroupContract, records: Sequence[dict[str, Any]], *,
        tick: Callable[[], None] = lambda: None) -> None:
    """Put each record into the stores that the group has. The same record twice is one more row, and no harm."""
    runtime = target.client("sagemaker-featurestore-runtime")

    def put_one(record: dict[str, Any]) -> None:
        values = [{"FeatureName": name, "ValueAsString": str(value)} for name, value in record.items()
                  if value is not None]
        runtime.put_record(FeatureGroupName=group.resource_name, Record=values)
        tick()

    with ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(put_one, records))


def offline_rows(target: Target, group: FeatureGroupContract) -> int:
    """How many rows the offline table has, as its newest Iceberg snapshot says; 0 without a table."""
    described = target.client("sagemaker").describe_feature_group(FeatureGroupName=group.resource_name)
    place, glue = described["OfflineStoreConfig"]["DataCatalogConfig"], target.client("glue")
    try:
        table = glue.get_table(DatabaseName=place["Database"], Name=place["TableName"])["Table"]
    except glue.exceptions.EntityNotFoundException:
        return 0
    bucket, key = table["Parameters"]["metadata_location"].removeprefix("s3://").split("/", 1)
    metadata = json.loads(target.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read())
    current = metadata.get("current-snapshot-id")
    totals = [int(snapshot["summary"]["total-records"]) for snapshot in metadata.get("snapshots", ())
              if snapshot["snapshot-id"] == current]
    return totals[0] if totals else 0


def wait_offline(target: Target, group: FeatureGroupContract, rows: int) -> None:
    """Until the offline table has at least so many rows; TimeoutError after OFFLINE_TIMEOUT_S."""
    deadline = time.monotonic() + OFFLINE_TIMEOUT_S
    while (found := offline_rows(target, group)) < rows:
        if time.monotonic() > deadline:
            raise TimeoutError(f"the offline store of {group.resource_name} has {found} rows, not {rows}, after "
                               f"{OFFLINE_TIMEOUT_S:.0f} s; `aws sagemaker describe-feature-group` may say why")
        time.sleep(POLL_S)

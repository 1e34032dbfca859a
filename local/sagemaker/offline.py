"""The offline store: records in files under the group's S3 path, written in small batches with the group's role.

With TableFormat Iceberg a batch is one commit to the group's table in the Glue catalog; otherwise the files are Parquet
when the host has pyarrow, and JSON lines when it has not. Both are written by a worker process, so that the server
neither imports pyarrow nor grows by it.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ministack.core.responses import get_account_id, get_region

from local.sagemaker import roles, state
from local.sagemaker.aws_http import AwsError, Client, split_s3_uri
from local.sagemaker.errors import ApiError

_WRITE_AFTER_S = 300.0  # AWS writes within 15 minutes; divided by the clock factor
_ICEBERG_WORKER = Path(__file__).with_name("iceberg_worker.py")
_commits: dict[str, threading.Lock] = {}  # feature group ARN -> one writer at a time
_waiting: dict[str, list[dict[str, Any]]] = {}  # feature group ARN -> rows
_WRITER = """
import json, sys
import pyarrow as pa, pyarrow.parquet as pq
schema, rows, path = json.loads(sys.stdin.readline()), [json.loads(l) for l in sys.stdin], sys.argv[1]
kinds = {"Integral": pa.int64(), "Fractional": pa.float64(), "String": pa.string(), "Time": pa.timestamp("ms", "UTC"),
         "Flag": pa.bool_()}
cast = {"Integral": int, "Fractional": float, "Time": int}
columns = [pa.array([None if r.get(n) is None else cast.get(k, lambda v: v)(r[n]) for r in rows], kinds[k])
           for n, k in schema]
pq.write_table(pa.table(columns, names=[n for n, _ in schema]), path, compression="snappy")
"""


def prepared(record: dict[str, Any]) -> dict[str, Any]:
    """The configuration as Describe shows it: with the place that AWS chooses below the given path."""
    config = dict(record["OfflineStoreConfig"])
    name, storage = record["FeatureGroupName"], dict(config["S3StorageConfig"])
    stamp = int(record["CreationTime"])
    base = storage["S3Uri"].rstrip("/")
    storage["ResolvedOutputS3Uri"] = (
        f"{base}/{get_account_id()}/sagemaker/{get_region()}/offline-store/{name}-{stamp}/data"
    )
    config["S3StorageConfig"] = storage
    config.setdefault("TableFormat", "Default")
    config.setdefault("DisableGlueTableCreation", False)
    if not config["DisableGlueTableCreation"]:
        table = f"{name.replace('-', '_').lower()}_{stamp}"
        default = {"Catalog": "AwsDataCatalog", "Database": "sagemaker_featurestore", "TableName": table}
        config.setdefault("DataCatalogConfig", default)
    return config


def append(group: dict[str, Any], values: dict[str, Any], *, deleted: bool) -> None:
    """Queue one row; the first of a batch starts its writer."""
    stamp = int(time.time() * 1000)
    row = {**values, "write_time": stamp, "api_invocation_time": stamp, "is_deleted": deleted}
    with state.LOCK:
        first = group["FeatureGroupArn"] not in _waiting
        _waiting.setdefault(group["FeatureGroupArn"], []).append(row)
    if first:
        state.background(lambda: _write_later(group), name=f"offline-{group['FeatureGroupName']}")


def _write_later(group: dict[str, Any]) -> None:
    time.sleep(state.config().scaled(_WRITE_AFTER_S))
    with state.LOCK:
        rows = _waiting.pop(group["FeatureGroupArn"], [])
    try:
        _write(group, rows)
    except (AwsError, ApiError, OSError, subprocess.CalledProcessError) as error:
        with state.LOCK:
            group["OfflineStoreStatus"] = {"Status": "Blocked", "BlockedReason": str(error)[:1024]}


def _write(group: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    """One file for each event-time hour, where AWS puts it."""
    client = roles.assume(group["RoleArn"], f"FeatureStore-{group['FeatureGroupName']}"[:64])
    if group["OfflineStoreConfig"]["TableFormat"] == "Iceberg":
        _commit(group, rows, client)
        return
    storage = group["OfflineStoreConfig"]["S3StorageConfig"]
    bucket, prefix = split_s3_uri(storage["ResolvedOutputS3Uri"])
    suffix = "parquet" if importlib.util.find_spec("pyarrow") else "jsonl"
    hours: dict[datetime, list[dict[str, Any]]] = {}
    for row in rows:
        hours.setdefault(_hour(str(row[group["EventTimeFeatureName"]])), []).append(row)
    folder = state.config().data_dir / "offline"
    folder.mkdir(parents=True, exist_ok=True)
    for hour, found in hours.items():
        name = f"{hour:%Y%m%dT%H0000Z}_{state.new_id(16)}.{suffix}"
        file = folder / name
        if suffix == "parquet":
            text = "\n".join(json.dumps(r) for r in [_schema(group), *found])
            subprocess.run([sys.executable, "-c", _WRITER, str(file)], input=text, text=True, check=True)
        else:
            file.write_text("".join(json.dumps(r) + "\n" for r in found))
        key = f"{prefix}/year={hour:%Y}/month={hour:%m}/day={hour:%d}/hour={hour:%H}/{name}"
        client.upload(bucket, key, file, kms_key=storage.get("KmsKeyId", ""))
        file.unlink()


def _schema(group: dict[str, Any]) -> list[list[str]]:
    return [*([d["FeatureName"], d["FeatureType"]] for d in group["FeatureDefinitions"]),
            ["write_time", "Time"], ["api_invocation_time", "Time"], ["is_deleted", "Flag"]]


def _commit(group: dict[str, Any], rows: list[dict[str, Any]], client: Client) -> None:
    """One Iceberg commit. Two at once would lose one, so a group's batches go one after the other."""
    config = group["OfflineStoreConfig"]
    catalog = config["DataCatalogConfig"]
    head = {"database": catalog["Database"], "table": catalog["TableName"], "columns": _schema(group),
            "location": config["S3StorageConfig"]["ResolvedOutputS3Uri"].removesuffix("/data"),
            "required": [group["RecordIdentifierFeatureName"], group["EventTimeFeatureName"]]}
    text = "\n".join(json.dumps(line) for line in [head, *rows])
    with _commits.setdefault(group["FeatureGroupArn"], threading.Lock()):
        done = subprocess.run([sys.executable, "-P", str(_ICEBERG_WORKER)], input=text, text=True, capture_output=True,
                              env={"PATH": os.environ["PATH"], **roles.environment(client, isolated=False)},
                              check=False)
    if done.returncode:
        raise ApiError("InternalFailure", done.stderr.strip()[-1000:])


def _hour(event_time: str) -> datetime:
    try:
        moment = datetime.fromtimestamp(float(event_time), UTC)
    except ValueError:
        moment = datetime.fromisoformat(event_time).astimezone(UTC)
    return moment.replace(minute=0, second=0, microsecond=0)

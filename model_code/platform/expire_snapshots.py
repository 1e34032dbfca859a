"""Processing job: drop old snapshots of the label tables, never one that a registered model was trained on.

    python -m model_code.platform.expire_snapshots --story SLUG [--story SLUG ...]

Environment: GLUE_DATABASE, ICEBERG_WAREHOUSE, LAKE_BUCKET. A snapshot is hot for 18 months. Older ones stay as
long as the story's model registry names a run whose data set was frozen at them. When a registered model's
manifest can't be read, nothing expires: missing evidence is no permission. Appended rows are never lost, since
the newest snapshot holds them all; what goes is the way back to how the table was.
The exit message says {"status": "expired", "expired": {table: count}, "kept_for_models": count}.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import NoSuchTableError

from contracts import naming
from contracts.environment import Environment
from contracts.stories import story as story_contract
from model_code.common.iceberg import glue_catalog
from model_code.common.log import log_event
from model_code.common.sagemaker_job import write_exit_message
from model_code.platform.freeze_dataset import MANIFEST_FILE

HOT = timedelta(days=548)  # 18 months

ReadManifest = Callable[[str], Mapping[str, Any]]  # run id -> the manifest of its frozen data set


@dataclass(frozen=True, kw_only=True)
class ExpiryEnv(Environment):
    GLUE_DATABASE: str
    ICEBERG_WAREHOUSE: str
    LAKE_BUCKET: str


class PinUnknown(RuntimeError):
    """A registered model does not say at which snapshot its data was frozen."""


def registered_runs(sagemaker: Any, group: str) -> Iterator[str]:
    """Run id of every version in a model package group, rejected ones included: one can go back to them."""
    pages = sagemaker.get_paginator("list_model_packages").paginate(ModelPackageGroupName=group)
    for page in pages:
        for package in page["ModelPackageSummaryList"]:
            arn = package["ModelPackageArn"]
            found = sagemaker.describe_model_package(ModelPackageName=arn)
            run = found.get("CustomerMetadataProperties", {}).get("run_id")
            if not run:
                raise PinUnknown(f"{arn} names no run_id, so what it was trained on can't be told: nothing expires")
            yield run


def pinned_snapshots(runs: Iterable[str], read_manifest: ReadManifest) -> frozenset[int]:
    """The label_records snapshots that the runs' data sets were frozen at."""
    pinned = set()
    for run in runs:
        snapshot = str(read_manifest(run).get("snapshot_id"))
        if not snapshot.isdigit():
            raise PinUnknown(f"the data set of run {run} pins snapshot {snapshot!r}, which is none: nothing expires")
        pinned.add(int(snapshot))
    return frozenset(pinned)


def expire(catalog: Catalog, database: str, *, pinned: AbstractSet[int], now: datetime) -> dict[str, int]:
    """Table -> how many snapshots went. The current one and the pinned ones stay, however old."""
    gone: dict[str, int] = {}
    oldest_ms = int((now - HOT).timestamp() * 1_000)
    for name in naming.LABEL_TABLES:
        try:
            table = catalog.load_table(f"{database}.{name}")
        except NoSuchTableError:
            continue  # nothing was ever appended to it
        current = table.current_snapshot()
        kept = pinned | ({current.snapshot_id} if current else set())
        old = [s.snapshot_id for s in table.snapshots() if s.timestamp_ms < oldest_ms and s.snapshot_id not in kept]
        if old:
            table.maintenance.expire_snapshots().by_ids(old).commit()
        gone[name] = len(old)
    return gone


def main(argv: Sequence[str] | None = None) -> None:
    import boto3

    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--story", required=True, action="append", help="every story whose labels the tables hold")
    args = parser.parse_args(argv)
    environ = ExpiryEnv.from_environ(os.environ)
    sagemaker, s3 = boto3.client("sagemaker"), boto3.client("s3")

    def manifest(story: str) -> ReadManifest:
        return lambda run: dict(json.loads(s3.get_object(
            Bucket=environ.LAKE_BUCKET, Key=naming.dataset_prefix(story, run) + MANIFEST_FILE)["Body"].read()))

    pinned: frozenset[int] = frozenset()
    for slug in (story_contract(name).slug for name in args.story):
        runs = registered_runs(sagemaker, naming.model_package_group(slug))
        pinned |= pinned_snapshots(runs, manifest(slug))
    gone = expire(glue_catalog(environ.ICEBERG_WAREHOUSE), environ.GLUE_DATABASE, pinned=pinned, now=datetime.now(UTC))
    answer: dict[str, Any] = {"status": "expired", "expired": gone, "kept_for_models": len(pinned)}
    write_exit_message(answer)
    log_event("snapshots", **answer)


if __name__ == "__main__":
    main()

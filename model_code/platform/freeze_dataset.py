"""Processing job: the story's labels at one Iceberg snapshot -> a data set that never changes again.

    python -m model_code.platform.freeze_dataset --story SLUG --output DIR --label-version-above N \\
        [--snapshot-id ID --features-manifest URI]

Environment: GLUE_DATABASE, ICEBERG_WAREHOUSE. Writes dataset.jsonl (sorted by id; the same labels and features
give the same bytes) and manifest.json. All labels are frozen, not only those above N: N tells
whether there are new ones. A row whose customer is known has the cohort that the feature store knew of then.
The exit message says {"status": "frozen" | "no_new_labels" | "low_kappa" | "too_few_rows", "freeze_id",
"label_version_to", "rows", "kappa", "taxonomy", "features": "none" | "fresh" | "stale since ..."}. With
no_new_labels the data set is written all the same: a drift or manual run goes on with it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from contracts import metrics
from contracts.agreement import kappa_by_language
from contracts.datasets import SCHEMA_VERSION, LabelRow
from contracts.stories import story as story_contract
from contracts.story import LabelPolicy, StoryContract
from model_code.common.feature_store import FRESH, FeatureRead, offline_store
from model_code.common.iceberg import LabelRecords, glue_catalog
from model_code.common.log import log_event
from model_code.common.sagemaker_job import write_exit_message
from model_code.platform.dataset_features import NONE, has_customers, join_features, without_features
from model_code.platform.ingest_labels import LabelEnv

GATED_LANGUAGES = ("en", "ja")  # the story asks for kappa in English and in Japanese; mixed is reported
DATASET_FILE, MANIFEST_FILE = "dataset.jsonl", "manifest.json"


def newest(records: Sequence[dict[str, Any]]) -> tuple[dict[str, Any] | None, list[LabelRow]]:
    """(the label set of the newest batch, the newest row of each id that speaks it, by id)."""
    if not records:
        return None, []
    last: dict[str, dict[str, Any]] = {}
    for record in sorted(records, key=lambda r: r["label_version"]):
        last[record["id"]] = record
    spoken = max(records, key=lambda r: r["label_version"])["taxonomy"]
    taxonomy: dict[str, Any] = json.loads(spoken)
    return taxonomy, [_label_row(record) for _, record in sorted(last.items())
                      if json.loads(record["taxonomy"])["name"] == taxonomy["name"]]


def _label_row(record: Mapping[str, Any]) -> LabelRow:
    values: dict[str, Any] = {name: record.get(name) for name in LabelRow.__dataclass_fields__}  # absent: an old table
    return LabelRow(**{**values, "annotator_labels": tuple(record["annotator_labels"])})


def status_of(rows: int, kappa: dict[str, float], *, newer: bool, policy: LabelPolicy) -> str:
    """Bad labels are told before absent ones: a manual run goes on without new labels, never with bad ones."""
    if rows < policy.min_rows:
        return "too_few_rows"
    # `not >=`, because NaN must not pass
    if any(not kappa[language] >= policy.min_kappa for language in GATED_LANGUAGES if language in kappa):
        return "low_kappa"
    return "frozen" if newer else "no_new_labels"


def freeze(story: str, output: Path, *, above: int, records: LabelRecords, contract: StoryContract,
           features: Callable[[], FeatureRead], at_snapshot: int | None = None) -> dict[str, Any]:
    """Write the data set and its manifest; the answer is the exit message.

    `features` is asked only when a row has a customer. `at_snapshot`, `above` and the features' manifest out of an old
    manifest write that data set again, byte for byte.
    """
    snapshot_id, found = records.read(story, snapshot_id=at_snapshot)
    taxonomy, rows = newest(found)
    joined = join_features(rows, features(), contract) if has_customers(rows) else without_features(rows)
    body = "".join(json.dumps(row, ensure_ascii=False, sort_keys=True) + "\n" for row in joined.rows).encode()
    kappa = {language: round(value, 4) for language, value in kappa_by_language(rows).items()}
    to = max((record["label_version"] for record in found), default=0)
    manifest = {
        "freeze_id": hashlib.sha256(body).hexdigest()[:16], "story": story, "taxonomy": taxonomy,
        "schema_version": SCHEMA_VERSION, "label_version": {"above": above, "to": to}, "snapshot_id": str(snapshot_id),
        "rows": len(rows), "kappa": kappa, "languages": dict(sorted(Counter(r.language for r in rows).items())),
        "kind": taxonomy["kind"] if taxonomy else "own", "features": joined.manifest,
    }
    output.mkdir(parents=True, exist_ok=True)
    (output / DATASET_FILE).write_bytes(body)
    (output / MANIFEST_FILE).write_text(json.dumps(manifest, ensure_ascii=False, indent=1), "utf-8")
    return {
        "status": status_of(len(rows), kappa, newer=to > above, policy=contract.labels),
        "freeze_id": manifest["freeze_id"], "label_version_to": to, "rows": len(rows), "kappa": kappa,
        "taxonomy": taxonomy["name"] if taxonomy else "", "features": joined.manifest["status"],
    }


def report_staleness(story: str, *, stale: bool, cloudwatch: Any) -> None:
    """A data point for the alarm. The data set is written and says the same: that nobody heard of it fails nothing."""
    dimensions = metrics.dimensions(metrics.FEATURES_STALE, story=story)
    try:
        cloudwatch.put_metric_data(Namespace=metrics.NAMESPACE, MetricData=[{
            "MetricName": metrics.FEATURES_STALE, "Value": float(stale), "Unit": "Count",
            "Dimensions": [{"Name": name, "Value": value} for name, value in dimensions.items()]}])
    except (BotoCoreError, ClientError) as error:
        log_event("staleness not reported", story=story, error=type(error).__name__)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--story", required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--label-version-above", type=int, required=True)
    parser.add_argument("--snapshot-id", type=int, help="write an old freeze again; the newest snapshot when absent")
    parser.add_argument("--features-manifest", help="of that old freeze: `features.metadata_location`")
    args = parser.parse_args(argv)
    environ = LabelEnv.from_environ(os.environ)
    catalog = glue_catalog(environ.ICEBERG_WAREHOUSE)
    contract = story_contract(args.story)

    def features() -> FeatureRead:
        store = offline_store(environ.ICEBERG_WAREHOUSE)
        group = contract.cohort_group
        return store.at(group, args.features_manifest) if args.features_manifest else store.read(group)

    answer = freeze(args.story, args.output, above=args.label_version_above, contract=contract, features=features,
                    records=LabelRecords(catalog=catalog, database=environ.GLUE_DATABASE),
                    at_snapshot=args.snapshot_id)
    if answer["features"] != NONE:
        report_staleness(args.story, stale=answer["features"] != FRESH, cloudwatch=boto3.client("cloudwatch"))
    write_exit_message(answer)
    log_event("frozen", story=args.story, **answer)


if __name__ == "__main__":
    main()

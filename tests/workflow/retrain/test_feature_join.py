"""The freeze joins what the feature store knew of each customer when it asked; what happens when the store is away."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
from pyiceberg.catalog import load_catalog

from cli.dataset_audit import audit_dataset
from contracts import events, metrics, naming
from model_code.common.feature_store import offline_schema
from tests.support import shop_labels
from tests.support.deployment import SLUG, STORY, Deployed

pytestmark = pytest.mark.workflow
RUN = "first-promotion"


def dataset(jp: Deployed, run: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """(rows, manifest) of a frozen data set."""
    read = [jp.aws.client("s3").get_object(Bucket=jp.target.bucket(naming.LAKE),
                                           Key=naming.dataset_prefix(SLUG, run) + name)["Body"].read()
            for name in ("dataset.jsonl", "manifest.json")]
    return [json.loads(line) for line in read[0].splitlines()], json.loads(read[1])


def test_the_offline_store_is_an_iceberg_table_of_the_declared_schema(jp: Deployed, monkeypatch: Any) -> None:
    for name, value in (("ACCESS_KEY_ID", "test"), ("SECRET_ACCESS_KEY", "test"),
                        ("ENDPOINT_URL", jp.aws.endpoint_url)):
        monkeypatch.setenv(f"AWS_{name}", value)
    catalog = load_catalog("test", **{"type": "glue", "glue.region": jp.aws.region, "s3.region": jp.aws.region,
                                      "s3.endpoint": jp.aws.endpoint_url})
    (table,) = [catalog.load_table(name) for name in catalog.list_tables("sagemaker_featurestore")]
    found = {f.name: (f.field_type, f.required) for f in table.schema().fields}
    assert found == {f.name: (f.field_type, f.required) for f in offline_schema(STORY.cohort_group).fields}
    assert f"/{naming.feature_store_prefix(SLUG)}" in table.location()
    assert table.scan().to_arrow().num_rows == len(shop_labels.history())


def test_slices_of_the_evaluation_come_from_the_feature_store(jp: Deployed) -> None:
    """No label row of the file says a cohort."""
    assert not any("cohort" in row for row in shop_labels.rows())
    rows, manifest = dataset(jp, RUN)
    features = manifest["features"]
    assert features["status"] == "fresh"
    assert features["cohort_from"]["feature_store"] > 800
    assert features["cohort_from"]["absent"] > 0
    assert features["cohorts"] == Counter(row["cohort"] for row in rows)
    slices = jp.evidence(RUN, naming.EVALUATION_FILE)["slices"]
    assert {f"language={lang},cohort={cohort}" for lang in ("en", "ja", "mixed") for cohort in features["cohorts"]} \
        <= set(slices)


def test_the_audit_passes_what_was_frozen(jp: Deployed) -> None:
    found = audit_dataset(jp.target, f"{SLUG}/{RUN}", sample=200)
    assert (found.passed, found.sampled, found.violations) == (True, 200, {})


def test_a_store_that_is_away_leaves_the_last_good_manifest_and_the_data_set_says_so(jp: Deployed) -> None:
    # quarrelling annotators end the run after its freeze: nothing is trained
    with jp.other_labels(shop_labels.quarrelling(shop_labels.rows())), jp.aws.fault(
            service="sagemaker", operation="DescribeFeatureGroup", kind="error"):
        run = jp.run()
        assert run.outcome == events.REJECTED_LABELS, run
        _, manifest = dataset(jp, run.name)
    _, fresh = dataset(jp, RUN)
    stale = manifest["features"]
    assert stale["status"].startswith("stale since 20")
    assert stale["metadata_location"] == fresh["features"]["metadata_location"]
    assert stale["cohorts"] == fresh["features"]["cohorts"]
    (shown,) = jp.aws.client("cloudwatch").list_metrics(
        Namespace=metrics.NAMESPACE, MetricName=metrics.FEATURES_STALE)["Metrics"]
    dimensions = {d["Name"]: d["Value"] for d in shown["Dimensions"]}
    assert dimensions == metrics.dimensions(metrics.FEATURES_STALE, story=SLUG)
    told = json.loads(jp.audit(run.name, events.REJECTED_LABELS)["detail"])["end"]["labels"]
    assert told["features"] == stale["status"]

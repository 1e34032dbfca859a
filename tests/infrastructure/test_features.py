"""What a feature group's declaration makes of the templates, and what the freeze job may do with it."""

from __future__ import annotations

import json

import pytest

from contracts.stories.intent_classifier import INTENT_CLASSIFIER
from model_code.common.feature_store import offline_schema
from tests.infrastructure.conftest import Assembly

GROUP = INTENT_CLASSIFIER.cohort_group
ICEBERG_TYPE = {"String": "string", "Integral": "long", "Fractional": "double"}


@pytest.mark.parametrize("deployment", ["jp", "us", "eu"])
def test_the_template_and_the_offline_schema_have_the_same_columns(assembly: Assembly, deployment: str) -> None:
    (made,) = assembly.resources("AWS::SageMaker::FeatureGroup", deployment=deployment).values()
    defined = {d["FeatureName"]: ICEBERG_TYPE[d["FeatureType"]] for d in made["Properties"]["FeatureDefinitions"]}
    columns = {f.name: str(f.field_type) for f in offline_schema(GROUP).fields}
    assert {name: columns[name] for name in defined} == defined
    assert set(columns) - set(defined) == {"write_time", "api_invocation_time", "is_deleted"}
    assert made["Properties"]["RecordIdentifierFeatureName"] == "customer_id"


def test_both_stores_use_the_regions_key_and_the_online_one_forgets(assembly: Assembly) -> None:
    (made,) = assembly.resources("AWS::SageMaker::FeatureGroup").values()
    online, offline = made["Properties"]["OnlineStoreConfig"], made["Properties"]["OfflineStoreConfig"]
    assert online["SecurityConfig"]["KmsKeyId"] == offline["S3StorageConfig"]["KmsKeyId"]
    assert online["TtlDuration"] == {"Unit": "Days", "Value": GROUP.ttl_days}
    assert offline["TableFormat"] == "Iceberg"
    assert (made["DeletionPolicy"], made["UpdateReplacePolicy"]) == ("Retain", "Retain")


def test_the_freeze_reads_features_of_its_own_story_only_and_writes_none(assembly: Assembly) -> None:
    role = next(r for id_, r in assembly.resources("AWS::IAM::Role").items() if id_.startswith("FreezeRole"))
    statements = role["Properties"]["Policies"][0]["PolicyDocument"]["Statement"]
    about = [s for s in statements if "feature" in json.dumps(s["Resource"])]
    actions = {action for s in about for action in ([s["Action"]] if isinstance(s["Action"], str) else s["Action"])}
    assert actions == {"s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload", "glue:GetDatabase", "glue:GetTable",
                       "sagemaker:DescribeFeatureGroup"}
    written = json.dumps([s["Resource"] for s in about if "s3:PutObject" in s["Action"]])
    assert "feature-manifests/intent-classifier/*" in written
    assert "feature-store/" not in written
    assert "mangaassist?intent?classifier?*" in json.dumps(about)

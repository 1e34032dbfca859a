"""The caller's cohort from the online store's answer, and from none."""

from __future__ import annotations

from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from contracts.stories.intent_classifier import INTENT_CLASSIFIER
from fabric.cohorts import cohort_now

SLUG = INTENT_CLASSIFIER.slug


def asked(stub: Any) -> str | None:
    client = boto3.client("sagemaker-featurestore-runtime", region_name="ap-northeast-1", aws_access_key_id="x",
                          aws_secret_access_key="x")
    with Stubber(client) as stubber:
        stub(stubber)
        return cohort_now(SLUG, "ann", runtime=client)


@pytest.mark.parametrize(("record", "cohort"), [
    ([{"FeatureName": "interactions", "ValueAsString": "61"}], "power_user"),
    ([{"FeatureName": "interactions", "ValueAsString": "4"}], "new"), (None, "new")])
def test_the_cohort_is_that_of_the_count_in_the_online_store(record: Any, cohort: str) -> None:
    wanted = {"FeatureGroupName": INTENT_CLASSIFIER.cohort_group.resource_name, "FeatureNames": ["interactions"],
              "RecordIdentifierValueAsString": "ann"}
    assert asked(lambda s: s.add_response("get_record", {"Record": record} if record else {}, wanted)) == cohort


def test_a_store_that_does_not_answer_makes_nobody_new() -> None:
    assert asked(lambda s: s.add_client_error("get_record", "ServiceUnavailable")) is None

"""A feature group's declaration and the cohort rule: what is refused, what follows."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from contracts.features import CohortRule, FeatureDefinition, FeatureGroupContract
from contracts.stories.intent_classifier import INTENT_CLASSIFIER

GROUP = INTENT_CLASSIFIER.cohort_group
RULE = INTENT_CLASSIFIER.cohorts


@pytest.mark.parametrize(("count", "cohort"), [
    (None, "new"), (0, "new"), (4, "new"), (5, "returning"), ("49", "returning"), (50, "power_user"),
    (900, "power_user"),
])
def test_the_cohort_follows_from_the_count_at_the_thresholds_of_the_contract(count: Any, cohort: str) -> None:
    assert RULE.cohort({"interactions": count}) == cohort


def test_nobody_knows_a_customer_without_a_record_or_with_a_deleted_one() -> None:
    assert RULE.cohort(None) == "new"
    assert RULE.cohort({"interactions": 900, "is_deleted": True}) == "new"


@pytest.mark.parametrize(("at_least", "words"), [
    ((("returning", 5),), r"each of new, returning, power_user once, got \['new', 'returning'\]"),
    ((("returning", 5), ("vip", 50)), "got .*'vip'"),
    ((("returning", 50), ("power_user", 5)), r"must rise from 1 or more, got \[50, 5\]"),
    ((("returning", 0), ("power_user", 5)), r"must rise from 1 or more, got \[0, 5\]"),
])
def test_a_rule_that_can_not_be_right_is_refused(at_least: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        CohortRule(group="g", feature="f", at_least=at_least, absent="new")


@pytest.mark.parametrize(("changes", "words"), [
    ({"record_identifier": "user"}, "record_identifier 'user' must be one of its features"),
    ({"event_time": "interactions"}, "event_time 'interactions' .* String or Fractional, got Integral"),
    ({"arrival": "when"}, "arrival 'when' must be one"),
    ({"ttl_days": 0}, "ttl_days of 1 or more"),
    ({"online": False, "offline": False}, "and a store"),
    ({"features": (*GROUP.features, FeatureDefinition(name="write_time", type="String"))}, "names must differ"),
    ({"features": (*GROUP.features, FeatureDefinition(name="v", type="Vector"))}, r"\['v'\] must be of type String"),
    ({"features": GROUP.features[:3]}, "needs a feature beside"),
])
def test_a_declaration_that_aws_would_refuse_is_refused_at_birth(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        replace(GROUP, **changes)


def test_a_story_refuses_a_group_of_another_namespace_and_a_rule_without_its_feature() -> None:
    with pytest.raises(ValueError, match=r"\['customer-cohort'\] are of another namespace"):
        replace(INTENT_CLASSIFIER, feature_groups=(replace(GROUP, namespace="reranker"),))
    with pytest.raises(ValueError, match="need the feature 'clicks' of customer-cohort, which has interactions"):
        replace(INTENT_CLASSIFIER, cohorts=replace(RULE, feature="clicks"))


def test_one_declaration_gives_template_table_and_join() -> None:
    """Only what a declaration names may be in each, and nothing twice."""
    made = GROUP.cloudformation(lake_uri="s3://lake/x/", key_arn="arn:key")
    names = [feature["FeatureName"] for feature in made["FeatureDefinitions"]]
    columns = GROUP.offline_columns()
    assert list(columns) == [*names, "write_time", "api_invocation_time", "is_deleted"]
    assert [columns[name] for name in names] == ["string", "string", "string", "long"]
    assert made["OnlineStoreConfig"]["TtlDuration"] == {"Unit": "Days", "Value": 90}
    assert GROUP.point_in_time(label_time="asked_at") == {
        "entity": "customer_id", "label_time": "asked_at", "event_time": "event_time", "ingestion_time": "ingested_at",
        "features": ("interactions", "is_deleted"), "ttl": timedelta(days=90)}


def test_a_store_that_is_off_is_not_in_the_template() -> None:
    made = [replace(GROUP, **{store: False}).cloudformation(lake_uri="s3://x/", key_arn="k") for store in
            ("online", "offline")]
    assert ["OnlineStoreConfig" in m for m in made] == [False, True]
    assert ["OfflineStoreConfig" in m for m in made] == [True, False]


def test_a_group_name_is_in_its_namespace() -> None:
    assert GROUP.resource_name == "mangaassist-intent-classifier-customer-cohort"
    assert isinstance(GROUP, FeatureGroupContract)

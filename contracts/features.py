"""Feature groups, declared once: CloudFormation, the offline table's schema and the reader's columns follow from here.

Feature Store stamps `api_invocation_time` when it takes a record: from then on the record is known. A record that was
brought over from an older store (a backfill) carries the time at which that store had it, in the group's `arrival`
feature; without such a time a backfill would be unknown to every label before it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from contracts import naming
from contracts.taxonomies import COHORTS

STRING, INTEGRAL, FRACTIONAL = "String", "Integral", "Fractional"
FEATURE_TYPES = (STRING, INTEGRAL, FRACTIONAL)

# What Feature Store adds to each record of an offline store
# (https://docs.aws.amazon.com/sagemaker/latest/dg/feature-store-offline.html).
WRITE_TIME, API_INVOCATION_TIME, IS_DELETED = "write_time", "api_invocation_time", "is_deleted"
_ADDED = {WRITE_TIME: "timestamp", API_INVOCATION_TIME: "timestamp", IS_DELETED: "boolean"}
_OFFLINE_TYPE = {STRING: "string", INTEGRAL: "long", FRACTIONAL: "double"}
INGESTED_AT = "ingested_at"  # the reader's: the arrival where a record has one, otherwise api_invocation_time


@dataclass(frozen=True, kw_only=True)
class FeatureDefinition:
    name: str
    type: str  # String, Integral or Fractional: CloudFormation knows no others


@dataclass(frozen=True, kw_only=True)
class FeatureGroupContract:
    """One group in a story's namespace.

    `ttl_days` holds in both stores: a record that serving can no longer read is not joined to a label either.
    ValueError names what is missing, of a wrong type or there twice.
    """

    namespace: str  # the story's slug
    name: str
    record_identifier: str
    event_time: str  # ISO-8601 in UTC when a String, epoch seconds when Fractional
    features: tuple[FeatureDefinition, ...]
    ttl_days: int
    online: bool = True
    offline: bool = True
    arrival: str | None = None

    def __post_init__(self) -> None:
        types = {feature.name: feature.type for feature in self.features}
        if len(types) < len(self.features) or set(types) & {*_ADDED, INGESTED_AT}:
            raise ValueError(f"feature group {self.name}: names must differ from each other and from "
                             f"{', '.join((*_ADDED, INGESTED_AT))}, got {[f.name for f in self.features]}")
        wrong = sorted(name for name, kind in types.items() if kind not in FEATURE_TYPES)
        if wrong:
            raise ValueError(f"feature group {self.name}: {wrong} must be of type {', '.join(FEATURE_TYPES)}")
        for role, name, allowed in (("record_identifier", self.record_identifier, (STRING, INTEGRAL)),
                                    ("event_time", self.event_time, (STRING, FRACTIONAL)),
                                    ("arrival", self.arrival, (STRING, FRACTIONAL))):
            if name is not None and types.get(name) not in allowed:
                raise ValueError(f"feature group {self.name}: {role} {name!r} must be one of its features, of type "
                                 f"{' or '.join(allowed)}, got {types.get(name)}")
        if not self.values:
            raise ValueError(f"feature group {self.name}: needs a feature beside identifier and times")
        if self.ttl_days < 1 or not (self.online or self.offline):
            raise ValueError(f"feature group {self.name}: needs a ttl_days of 1 or more and a store, got "
                             f"{self.ttl_days}, online={self.online}, offline={self.offline}")

    @property
    def resource_name(self) -> str:
        return naming.feature_group(self.namespace, self.name)

    @property
    def values(self) -> tuple[str, ...]:
        """The features that are neither identifier nor time."""
        return tuple(f.name for f in self.features
                     if f.name not in (self.record_identifier, self.event_time, self.arrival))

    def cloudformation(self, *, lake_uri: str, key_arn: str) -> dict[str, Any]:
        """Properties of AWS::SageMaker::FeatureGroup, but for the role. `lake_uri`: the offline store's s3:// path."""
        found: dict[str, Any] = {
            "FeatureGroupName": self.resource_name, "RecordIdentifierFeatureName": self.record_identifier,
            "EventTimeFeatureName": self.event_time,
            "FeatureDefinitions": [{"FeatureName": f.name, "FeatureType": f.type} for f in self.features]}
        if self.online:
            found["OnlineStoreConfig"] = {"EnableOnlineStore": True, "SecurityConfig": {"KmsKeyId": key_arn},
                                          "TtlDuration": {"Unit": "Days", "Value": self.ttl_days}}
        if self.offline:
            found["OfflineStoreConfig"] = {"S3StorageConfig": {"S3Uri": lake_uri, "KmsKeyId": key_arn},
                                           "TableFormat": "Iceberg"}
        return found

    def offline_columns(self) -> dict[str, str]:
        """Column -> Iceberg type of the offline table."""
        return {**{f.name: _OFFLINE_TYPE[f.type] for f in self.features}, **_ADDED}

    def point_in_time(self, *, label_time: str) -> dict[str, Any]:
        """Arguments of a point-in-time join. A deletion is a row, too: it ends what was known before it."""
        return {"entity": self.record_identifier, "label_time": label_time, "event_time": self.event_time,
                "ingestion_time": INGESTED_AT, "features": (*self.values, IS_DELETED),
                "ttl": timedelta(days=self.ttl_days)}

    def point_in_time_json(self, *, label_time: str) -> str:
        """The same for the argument of a job, as PointInTime.to_json() writes it: `ttl` in microseconds."""
        arguments = self.point_in_time(label_time=label_time)
        return json.dumps({**arguments, "ttl": arguments["ttl"] // timedelta(microseconds=1)})


@dataclass(frozen=True, kw_only=True)
class CohortRule:
    """The caller's cohort at a moment, from what a feature group knew of the caller then.

    `at_least`: (cohort, smallest count), ascending; below the first, and without a live record, the cohort is `absent`.
    """

    group: str  # name of the feature group
    feature: str  # a count
    at_least: tuple[tuple[str, int], ...]
    absent: str

    def __post_init__(self) -> None:
        names, counts = [name for name, _ in self.at_least], [count for _, count in self.at_least]
        if {self.absent, *names} != set(COHORTS) or len(names) + 1 != len(COHORTS):
            raise ValueError(f"a cohort rule names each of {', '.join(COHORTS)} once, got {[self.absent, *names]}")
        if counts != sorted(set(counts)) or counts[0] < 1:
            raise ValueError(f"at_least must rise from 1 or more, got {counts}")

    def cohort(self, record: Mapping[str, Any] | None) -> str:
        """Of a record as the store gives it: values may be text, as from GetRecord; None or a deletion is absence."""
        count = None if record is None or record.get(IS_DELETED) else record.get(self.feature)
        found = self.absent
        for name, smallest in self.at_least:
            if count is not None and int(count) >= smallest:
                found = name
        return found

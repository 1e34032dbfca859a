"""The cohort of each label row at the moment of its utterance, out of the feature store; and what that rested on.

A row with a customer gets it from the feature row that was newest and known when the customer asked. A row without one
keeps what its label file said: nobody can look up a customer who has no name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa

from contracts.datasets import LABEL_TIME, LabelRow
from contracts.story import StoryContract
from model_code.common.feature_store import FeatureRead
from model_code.common.point_in_time import join
from model_code.common.point_in_time_definition import PointInTime

NONE = "none"  # a manifest's `features.status` when no row has a customer
_INSTANT = pa.timestamp("us", "UTC")


@dataclass(frozen=True, kw_only=True)
class Joined:
    """`rows`: lines of the data set, in the order of the labels. `manifest`: its `features` entry."""

    rows: tuple[dict[str, Any], ...]
    manifest: dict[str, Any]


def definition_of(contract: StoryContract) -> PointInTime:
    return PointInTime(**contract.cohort_group.point_in_time(label_time=LABEL_TIME))


def has_customers(rows: Sequence[LabelRow]) -> bool:
    return any(row.customer_id is not None for row in rows)


def without_features(rows: Sequence[LabelRow]) -> Joined:
    """No row has a customer: the store is not asked, and cohorts are what the label file says."""
    cohorts = Counter(row.cohort or "none" for row in rows)
    return Joined(rows=tuple({**row.to_dict(), "features": None} for row in rows), manifest={
        "status": NONE, "cohort_from": {"label_file": len(rows)}, "cohorts": dict(sorted(cohorts.items()))})


def join_features(rows: Sequence[LabelRow], read: FeatureRead, contract: StoryContract) -> Joined:
    """Each row with its cohort, and under `features` the feature row that it came from (null: none was known)."""
    definition, rule = definition_of(contract), contract.cohorts
    asked = [row for row in rows if row.customer_id is not None]
    labels = pa.table({
        definition.entity: pa.array([row.customer_id for row in asked], pa.string()),
        LABEL_TIME: pa.array([datetime.fromisoformat(str(row.asked_at)) for row in asked], _INSTANT)})
    joined = dict(zip((row.id for row in asked), join(labels, read.rows, definition).to_pylist(), strict=True))
    found, cohorts, sources = [], Counter[str](), Counter[str]()
    for row in rows:
        features = _features(joined.get(row.id), definition)
        cohort = row.cohort if row.customer_id is None else rule.cohort(features)
        sources["label_file" if row.customer_id is None else "feature_store" if features else "absent"] += 1
        cohorts[cohort or "none"] += 1
        found.append({**row.to_dict(), "cohort": cohort, "features": features})
    return Joined(rows=tuple(found), manifest={
        **read.to_dict(), "definition": definition.to_json(), "feature_rows": read.rows.num_rows,
        "cohort_from": dict(sorted(sources.items())), "cohorts": dict(sorted(cohorts.items()))})


def _features(row: Mapping[str, Any] | None, definition: PointInTime) -> dict[str, Any] | None:
    """What was joined, as the data set keeps it; the audit reads it back."""
    if row is None or row[definition.event_time] is None:
        return None
    return {name: value.isoformat() if isinstance(value, datetime) else value
            for name, value in ((name, row[name]) for name in definition.joined_columns)}

"""What a point-in-time join means, apart from the engine that runs it (standard library only: Spark needs no Arrow).

This file, point_in_time_spark.py and the job run on Python 3.9, the oldest that EMR Serverless 7
may bring (its documents do not say).

A label row may see of its entity only what was known at the label's time. A feature row is *known* when it has
happened and has arrived: event time <= label time and ingestion time <= label time. Of the known rows

1. the one with the newest event time is joined: a row that arrives late never displaces a newer one, and
   while it has not arrived the newest row known by then stands in for it;
2. of equal event times, the one ingested last (a correction replaces what it corrects);
3. of equal ingestion times too, the greatest feature values in the order of `features`: null is the smallest, then
   numbers, then NaN; text by its UTF-8 bytes. Rows that are equal here as well are the same answer.

The time to live is looked at last: if the row so found is older than `ttl` at the label's time, nothing is joined
(exactly as old is still joined). Every label row comes out once and in its place, with nulls where nothing was
joined: a missing entity, a null entity, nothing known yet, or all of it too old.

Times are instants with microseconds, as Iceberg's timestamptz: other zones are converted to UTC, a time without
a zone is refused, and so is a null one. Feature rows with a null entity belong to nobody and are left out.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import timedelta

MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True)  # kw_only is of Python 3.10
class PointInTime:
    """One join: the names of the columns and how long a feature row lives.

    `entity` has the same name on both sides, integers or text. What comes out are the label's columns, then
    `event_time` and `ingestion_time` of the row that was joined (the audit reads them), then `features`.
    ValueError when a name is empty or used twice, no feature is named, or the time to live is not positive.
    """

    entity: str
    label_time: str
    event_time: str
    ingestion_time: str
    features: tuple[str, ...]
    ttl: timedelta | None = None  # None: a feature row never grows too old

    def __post_init__(self) -> None:
        names = [self.entity, self.label_time, *self.joined_columns]
        twice = sorted(name for name, times in Counter(names).items() if times > 1)
        if not self.features or not all(names) or twice:
            raise ValueError(f"a point-in-time join needs at least one feature column and different names for all "
                             f"columns, got {names}" + (f"; more than once: {twice}" if twice else ""))
        if self.ttl is not None and self.ttl <= timedelta(0):
            raise ValueError(f"ttl must be longer than 0, got {self.ttl}; None means that rows never grow too old")

    @property
    def joined_columns(self) -> tuple[str, ...]:
        """What is added to a label's own columns."""
        return (self.event_time, self.ingestion_time, *self.features)

    @property
    def feature_columns(self) -> tuple[str, ...]:
        """What the feature table must have."""
        return (self.entity, *self.joined_columns)

    @property
    def ttl_us(self) -> int | None:
        return None if self.ttl is None else self.ttl // MICROSECOND

    def check_columns(self, labels: Iterable[str], features: Iterable[str]) -> None:
        """ValueError names the columns that a table lacks, or that the labels have and the join would add."""
        label_names, feature_names = list(labels), list(features)
        for side, needed, given in (("labels", (self.entity, self.label_time), label_names),
                                    ("features", self.feature_columns, feature_names)):
            missing = sorted(set(needed) - set(given))
            if missing:
                raise ValueError(f"{side}: columns {missing} are missing; the table has {sorted(given)}")
        taken = sorted(set(self.joined_columns) & set(label_names))
        if taken:
            raise ValueError(f"labels: columns {taken} are also what the join adds; rename or drop them")

    def to_json(self) -> str:
        """For the argument of a job; `ttl` in microseconds."""
        return json.dumps(asdict(self) | {"ttl": self.ttl_us})

    @classmethod
    def from_json(cls, text: str) -> PointInTime:
        raw = json.loads(text)
        known = set(cls.__dataclass_fields__)
        if not isinstance(raw, dict) or set(raw) | {"ttl"} != known:
            raise ValueError(f"a definition is a JSON object with the fields {sorted(known)}, got {text[:200]}")
        ttl = raw.get("ttl")
        return cls(**{**raw, "features": tuple(raw["features"]), "ttl": None if ttl is None else ttl * MICROSECOND})


def naive_time(side: str, column: str, found: object) -> ValueError:
    return ValueError(f"{side}: column {column!r} must be a time with a zone, got {found}; nobody can tell "
                      "which instant a time without one means: attach the zone where the time is made")


def null_time(side: str, column: str) -> str:
    return f"{side}: column {column!r} has rows without a time; drop or mend them, for null is neither past nor future"


def entity_types(entity: str, label_type: object, feature_type: object) -> ValueError:
    return ValueError(f"column {entity!r} must hold integers or text in both tables, got {label_type} in labels and "
                      f"{feature_type} in features; cast one of them")

"""What one hour counts and what hours add up to: a slow shift, or a thin slice, shows in a day and in no hour of it.

Each scheduled look keeps its counts, `drift-windows/STORY/VERSION/END.json`: whole numbers over the bins of that
champion's reference. The last 4, 12 and 24 hours are sums of these; no record is read twice. An hour that was never
counted (the monitor failed for good) is missing from its spans, which says fewer requests and nothing else.
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from contracts import naming
from contracts.alarm_budget import LOOK_EVERY_S, SPANS_H
from contracts.drift_windows import Histograms, References, WindowResult, end_of, object_name
from contracts.story import DriftMonitor
from lambdas.shared.objects import S3Uri, list_objects, read_json

_HOUR = timedelta(seconds=LOOK_EVERY_S)


def last_full_hour(moment: datetime) -> datetime:
    """The end of it: hours that all looks cut alike can be added up."""
    return moment.replace(minute=0, second=0, microsecond=0)


def keep(s3: Any, folder: S3Uri, end: datetime, counted: Histograms) -> None:
    """Write one hour's counts; a second look at the same hour writes the same object."""
    body = json.dumps(counted.to_dict(), sort_keys=True, separators=(",", ":")).encode()
    s3.put_object(Bucket=folder.bucket, Key=folder.child(object_name(end)).key, Body=body,
                  ContentType="application/json")


def folder_of(bucket: str, slug: str, version: str) -> S3Uri:
    return S3Uri(bucket, naming.drift_windows_prefix(slug) + version)


def spans(
    s3: Any, folder: S3Uri, end: datetime, hour: Histograms, references: References
) -> list[tuple[int, Histograms]]:
    """(hours, counts) of the hour itself and of every span for which earlier hours were kept."""
    kept = _kept(s3, folder, end)
    found, total = [(SPANS_H[0], hour)], hour
    for shorter, hours in pairwise(SPANS_H):
        earlier = [kept[at] for at in (end - back * _HOUR for back in range(shorter, hours)) if at in kept]
        for uri in earlier:
            total = total.merge(Histograms.from_dict(references, read_json(s3, uri)))
        if earlier:
            found.append((hours, total))
    return found


def _kept(s3: Any, folder: S3Uri, end: datetime) -> dict[datetime, S3Uri]:
    """End -> object, of the hours before `end` that the longest span reaches."""
    found = {}
    for entry in list_objects(s3, folder.child("")):
        at = end_of(entry["Key"].rsplit("/", 1)[1])
        if end - (SPANS_H[-1] - 1) * _HOUR <= at < end:
            found[at] = S3Uri(folder.bucket, entry["Key"])
    return found


def judge(counted: list[tuple[int, Histograms]], monitor: DriftMonitor) -> list[WindowResult]:
    """Every slice at every span; a slice's shortest span first."""
    results = [
        replace(result, hours=hours) for hours, histograms in counted for result in histograms.judge(monitor)
    ]
    return sorted(results, key=lambda r: (r.language, r.cohort, r.hours))

"""Drift over several deployments at once: each region's kept counts are added up, its requests stay where they are.

A slice that is thin in every region can be judged in their sum. Only whole numbers over the champion's bins are read,
with the operator's own credentials: no role of one region reaches into another.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from botocore.exceptions import ClientError

from cli import status
from cli.errors import CliError
from cli.target import Target
from contracts import naming
from contracts.drift_windows import Histograms, References, WindowResult, end_of, parse_references
from contracts.story import StoryContract

MAX_HOURS = 7 * 24


@dataclass(frozen=True, kw_only=True)
class Share:
    """What one deployment brought. `note` says why it brought nothing."""

    deployment: str
    version: str = ""
    hours: int = 0
    requests: int = 0
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class RegionsDrift:
    until: datetime | None  # end of the newest hour that was counted anywhere
    shares: tuple[Share, ...]
    results: tuple[WindowResult, ...]


@dataclass(frozen=True, kw_only=True)
class _Champion:
    target: Target
    version: str
    reference: dict[str, Any]
    hours: dict[datetime, str]  # end of an hour -> key of its counts


def merged(targets: Sequence[Target], story: StoryContract, *, hours: int) -> RegionsDrift:
    """The last `hours` hours of all of them. The first that serves says which model's reference counts.

    Another deployment's counts lie over the same bins when it serves a signed copy of the same model; one that serves
    another model yet, or nothing, is named and left out. CliError when nobody serves.
    """
    champions = {t.deployment.name: found for t in targets if (found := _champion(t, story.slug))}
    if not champions:
        raise CliError(f"{story.slug} was never promoted in {', '.join(t.deployment.name for t in targets)}: there is "
                       "no reference to compare with")
    reference = next(iter(champions.values())).reference
    alike = {name: found for name, found in champions.items() if found.reference == reference}
    until = max((end for found in alike.values() for end in found.hours), default=None)
    references = parse_references(reference)
    total, shares = Histograms(references), []
    for target in targets:
        name = target.deployment.name
        if name not in alike:
            note = "serves another model" if name in champions else "nothing serves there"
            shares.append(Share(deployment=name, note=note))
            continue
        counted, share = _counted(alike[name], references, until, hours)
        total, shares = total.merge(counted), [*shares, share]
    judged = [result for monitor in story.monitors if monitor.kind != "concept" for result in total.judge(monitor)]
    return RegionsDrift(until=until, shares=tuple(shares), results=tuple(judged))


def _champion(target: Target, slug: str) -> _Champion | None:
    try:
        pointer = status.pointer(target, slug)
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceNotFoundException":
            raise
        return None  # no deployment there yet
    if pointer is None:
        return None
    s3, version = target.client("s3"), str(pointer["version"])
    bucket, _, folder = str(pointer["model_uri"]).removeprefix("s3://").partition("/")
    raw = s3.get_object(Bucket=bucket, Key=folder + naming.DRIFT_REFERENCE_FILE)["Body"].read()
    prefix = f"{naming.drift_windows_prefix(slug)}{version}/"
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=target.bucket(naming.CAPTURE), Prefix=prefix)
    keys = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
    return _Champion(target=target, version=version, reference=json.loads(raw),
                     hours={end_of(key.removeprefix(prefix)): key for key in keys})


def _counted(
    champion: _Champion, references: References, until: datetime | None, hours: int
) -> tuple[Histograms, Share]:
    """Same hours everywhere: those that end within `hours` before `until`."""
    total, used = Histograms(references), 0
    s3, bucket = champion.target.client("s3"), champion.target.bucket(naming.CAPTURE)
    for end, key in champion.hours.items():
        if until is not None and until - timedelta(hours=hours) < end <= until:
            raw = json.loads(s3.get_object(Bucket=bucket, Key=key)["Body"].read())
            total, used = total.merge(Histograms.from_dict(references, raw)), used + 1
    name = champion.target.deployment.name
    return total, Share(deployment=name, version=champion.version, hours=used, requests=total.seen)

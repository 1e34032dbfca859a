"""Counts of several deployments are added up over the same hours and judged as one."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from boto3.dynamodb.types import TypeSerializer
from moto import mock_aws
from rich.console import Console

from cli import show
from cli.drift_regions import merged
from cli.errors import CliError
from cli.target import Target
from contracts import naming, records
from contracts.deployments import DEPLOYMENTS
from contracts.drift import Reference
from contracts.drift_windows import Histograms, object_name, parse_references
from contracts.stories.intent_classifier import INTENT_CLASSIFIER as STORY

END = datetime(2026, 11, 20, 3, 0, tzinfo=UTC)
MONITOR = next(m for m in STORY.monitors if "chars" in m.features)
HALF = MONITOR.min_requests // 2 + 1  # too few in one region, enough in two


def reference(*counts: int) -> dict[str, Any]:
    return {"features": {"en": [Reference(feature="chars", counts=counts, edges=(20.0,)).to_dict()]}}


ALIKE = reference(3_000, 3_000)


@dataclass
class World:
    targets: tuple[Target, ...]

    def promote(self, name: str, *, version: str, drift_reference: Mapping[str, Any] = ALIKE) -> None:
        target = next(t for t in self.targets if t.deployment.name == name)
        artifacts, table = target.bucket(naming.ARTIFACTS), naming.control_table(name)
        where = {"LocationConstraint": target.deployment.region}
        for bucket in (artifacts, target.bucket(naming.CAPTURE)):
            options: dict[str, Any] = {} if target.deployment.region == "us-east-1" else {
                "CreateBucketConfiguration": where}
            target.client("s3").create_bucket(Bucket=bucket, **options)
        keys = (records.CONTROL_PARTITION_KEY, records.CONTROL_SORT_KEY)
        target.client("dynamodb").create_table(
            TableName=table, BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in keys],
            KeySchema=[{"AttributeName": key, "KeyType": kind} for key, kind in zip(keys, ("HASH", "RANGE"),
                                                                                   strict=True)])
        item = {keys[0]: STORY.slug, keys[1]: records.POINTER, "version": version,
                "model_uri": f"s3://{artifacts}/models/a/"}
        serialise = TypeSerializer().serialize
        target.client("dynamodb").put_item(TableName=table, Item={k: serialise(v) for k, v in item.items()})
        target.client("s3").put_object(Bucket=artifacts, Key=f"models/a/{naming.DRIFT_REFERENCE_FILE}",
                                       Body=json.dumps(drift_reference).encode())

    def count(self, name: str, *, version: str, end: datetime, chars: Sequence[int],
              drift_reference: Mapping[str, Any] = ALIKE) -> None:
        target = next(t for t in self.targets if t.deployment.name == name)
        counted = Histograms(parse_references(drift_reference))
        for number in chars:
            counted.add({"language": "en", "features": {"chars": number}})
        target.client("s3").put_object(
            Bucket=target.bucket(naming.CAPTURE), Body=json.dumps(counted.to_dict()).encode(),
            Key=f"{naming.drift_windows_prefix(STORY.slug)}{version}/{object_name(end)}")


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    for name in ("AWS_ENDPOINT_URL", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    with mock_aws():
        boto3.setup_default_session()
        yield World(targets=tuple(Target.of(d.name) for d in DEPLOYMENTS))


def chars_of(world: World, *, hours: int = 24) -> tuple[float | None, int]:
    found = merged(world.targets, STORY, hours=hours)
    result = next(r for r in found.results if r.monitor == MONITOR.name and r.language == "en" and not r.cohort)
    return result.value, result.requests


def test_what_is_thin_in_each_region_is_judged_in_their_sum(world: World) -> None:
    world.promote("jp", version="4")
    world.promote("us", version="1")
    world.count("jp", version="4", end=END, chars=[30] * HALF)
    assert chars_of(world) == (None, HALF)
    world.count("us", version="1", end=END, chars=[30] * HALF)
    value, requests = chars_of(world)
    assert requests == 2 * HALF
    assert value is not None
    assert value > MONITOR.threshold


def test_only_the_same_hours_are_added_up_and_only_of_what_serves(world: World) -> None:
    world.promote("jp", version="4")
    world.promote("us", version="1")
    world.count("jp", version="4", end=END, chars=[10] * 7)
    world.count("us", version="1", end=END - timedelta(hours=1), chars=[10] * 5)
    world.count("us", version="1", end=END - timedelta(hours=2), chars=[10] * 3)
    world.count("jp", version="3", end=END, chars=[10] * 100)
    assert [chars_of(world, hours=hours)[1] for hours in (1, 2, 3)] == [7, 12, 15]


def test_a_region_with_another_model_or_none_is_named_and_left_out(world: World) -> None:
    other = reference(10, 10)
    world.promote("jp", version="4")
    world.promote("us", version="1", drift_reference=other)
    world.count("jp", version="4", end=END, chars=[10] * 7)
    world.count("us", version="1", end=END, chars=[10] * 5, drift_reference=other)
    found = merged(world.targets, STORY, hours=24)
    assert [(s.deployment, s.requests, s.note) for s in found.shares] == [
        ("jp", 7, ""), ("us", 0, "serves another model"), ("eu", 0, "nothing serves there")]
    out = Console(record=True, width=120)
    show.regions_drift(out, found)
    text = out.export_text()
    assert "counted until 2026-11-20 03:00 UTC" in text
    assert "serves another model" in text


def test_nobody_serves(world: World) -> None:
    with pytest.raises(CliError, match="was never promoted in jp, us, eu"):
        merged(world.targets, STORY, hours=24)


def test_nothing_was_counted_yet(world: World) -> None:
    world.promote("jp", version="4")
    found = merged(world.targets, STORY, hours=24)
    assert found.until is None
    assert {r.value for r in found.results} == {None}

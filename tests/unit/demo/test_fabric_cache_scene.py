"""The scene that kills the cache, on a little AWS: what it checks and that it fails when it should."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.target import Target
from contracts import naming
from contracts.datasets import LabelRow
from contracts.deployments import JP
from contracts.stories.intent_classifier import INTENT_CLASSIFIER
from demo.scenes.fabric_cache import QUESTIONS, fabric_survives_cache_loss
from demo.stage import Material, SceneFailed, Stage
from demo.world import World
from tests.support.inference import SECRET, Aws, little_aws

GOLDEN = tuple(LabelRow(id=f"r{i}", text=f"question {i}", label="smalltalk", language="en") for i in range(60))


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[Aws]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    with little_aws() as made:
        made.parameters[naming.INFERENCE_CACHE_PARAMETER] = json.dumps(
            {"host": "h", "port": 1, "name": "n", "user": "u", "secret_arn": "arn:s"})
        made.secrets["arn:s"] = SECRET.decode()
        yield made


def stage_of(aws: Aws, folder: Path) -> Stage:
    return Stage(
        world=World(folder=folder, deployment=JP, endpoint_url=aws.url, clock_factor=1),
        target=Target.of("jp", aws.url), story=INTENT_CLASSIFIER, assembly=folder, say=lambda text: None,
        material=Material(name="m", path=folder, kind="made", licence="", rows=GOLDEN, golden=GOLDEN, encoder=folder,
                          taxonomy={}))


def test_the_cache_is_used_then_killed_and_every_question_is_answered(aws: Aws, tmp_path: Path) -> None:
    assert "40 questions of version 7" in fabric_survives_cache_loss(stage_of(aws, tmp_path))
    assert len(aws.asked) == 2 * QUESTIONS
    assert len(aws.captured) == 3 * QUESTIONS


def test_an_endpoint_that_fails_with_the_cache_gone_fails_the_scene(aws: Aws, tmp_path: Path) -> None:
    aws.endpoint_answers = QUESTIONS
    with pytest.raises(SceneFailed, match="fallback"):
        fabric_survives_cache_loss(stage_of(aws, tmp_path))

import pytest

from contracts import pipeline, records
from contracts.stories import story

RUN = {
    pipeline.RUN_ID: "r1",
    pipeline.DATASET_URI: "s3://lake/d/",
    pipeline.OUTPUT_URI: "s3://artifacts/r1/",
    pipeline.CHAMPION_URI: "s3://artifacts/models/3",
    pipeline.CHAMPION_VERSION: "3",
}


def planned(run: dict[str, str], overrides: dict[str, str]) -> dict[str, str]:
    found = pipeline.parameters(story("intent-classifier"), run, overrides)
    return {p["Name"]: p["Value"] for p in found}


def test_a_warm_start_continues_from_the_champions_weights() -> None:
    found = planned(RUN, {"WarmStart": "champion"})
    assert found["PretrainedUri"] == "s3://artifacts/models/3/pytorch/"
    assert "WarmStart" not in found


def test_a_run_starts_from_the_pretrained_encoder_unless_told_otherwise() -> None:
    assert "PretrainedUri" not in planned(RUN, {})
    assert "PretrainedUri" not in planned(RUN, {"WarmStart": "pretrained"})


def test_a_warm_start_without_a_champion_begins_with_the_pretrained_encoder() -> None:
    first = RUN | {pipeline.CHAMPION_VERSION: records.NO_CHAMPION}
    assert "PretrainedUri" not in planned(first, {"WarmStart": "champion"})


def test_an_unknown_start_names_the_allowed_ones() -> None:
    with pytest.raises(ValueError, match="one of pretrained, champion, got 'yesterday'"):
        planned(RUN, {"WarmStart": "yesterday"})

"""What `features join` puts where, what it asks for, and what it refuses before anything starts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from moto import mock_aws
from typer.testing import CliRunner

from cli import feature_join, main
from cli.errors import CliError
from cli.executions import Finished
from cli.target import Target
from contracts import events, naming
from contracts.stories.intent_classifier import INTENT_CLASSIFIER as STORY
from model_code.common.point_in_time_definition import PointInTime

GROUP = STORY.cohort_group
SLUG = STORY.slug


@pytest.fixture
def jp(monkeypatch: pytest.MonkeyPatch) -> Iterator[Target]:
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    with mock_aws():
        target = Target.of("jp")
        target.client("s3").create_bucket(Bucket=target.bucket(naming.LAKE), CreateBucketConfiguration={
            "LocationConstraint": target.deployment.region})
        yield target


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Inputs of what would have been started."""
    found: list[dict[str, Any]] = []

    def start(target: Target, machine: str, body: dict[str, Any], *, name: str) -> str:
        assert machine == naming.feature_join_state_machine()
        found.append({**body, "name": name})
        return f"arn:{name}"

    def ended(target: Target, arn: str, **_: Any) -> Finished:
        good = not arn.endswith("unlucky")
        return Finished(arn=arn, name=arn, status="SUCCEEDED" if good else "FAILED", seconds=1.0, states=(), output={},
                        outcome=feature_join.JOINED if good else events.FAILED,
                        error="" if good else "JoinFailed: labels: columns ['asked_at'] are missing")

    monkeypatch.setattr(feature_join, "start_once", start)
    monkeypatch.setattr(feature_join, "wait", ended)
    return found


def keys(target: Target) -> list[str]:
    listed = target.client("s3").list_objects_v2(Bucket=target.bucket(naming.LAKE), Prefix=naming.JOINS_PREFIX)
    return [found["Key"] for found in listed.get("Contents", [])]


def test_files_are_put_once_by_content_and_folders_of_the_lake_are_taken_by_name(
        jp: Target, started: list[dict[str, Any]], tmp_path: Path) -> None:
    (tmp_path / "features").mkdir()
    for name in ("labels.parquet", "features/a.parquet", "features/b.parquet", "features/notes.txt"):
        (tmp_path / name).write_bytes(name.encode())
    first, again = (feature_join.join(jp, STORY, GROUP, labels=str(tmp_path / "labels.parquet"), output="joined",
                                      features=str(tmp_path / "features"), run_id="one") for _ in range(2))
    assert first == again
    body = started[0]
    prefixes = {name: naming.join_prefix(SLUG, body[name]) for name in ("labels", "features")}
    assert sorted(keys(jp)) == sorted([prefixes["labels"] + "labels.parquet", prefixes["features"] + "a.parquet",
                                       prefixes["features"] + "b.parquet"])
    assert (body["story"], body["output"], body["name"]) == (SLUG, "joined", "one")
    assert first.uri == f"s3://{jp.bucket(naming.LAKE)}/joins/{SLUG}/joined/"
    feature_join.join(jp, STORY, GROUP, labels=body["labels"], features=body["features"], output="more")
    assert {name: started[-1][name] for name in prefixes} == {name: body[name] for name in prefixes}
    assert started[-1]["name"].startswith("join-")


def test_the_definition_is_the_feature_group_s_and_reads_as_the_job_reads_it() -> None:
    found = PointInTime.from_json(feature_join.definition(GROUP))
    assert found == PointInTime(**GROUP.point_in_time(label_time="asked_at"))
    assert found.to_json() == feature_join.definition(GROUP)


@pytest.mark.parametrize(("given", "says"), [
    ({"labels": "nothing"}, r"--labels 'nothing' is neither a Parquet file or folder here nor a folder of the lake"),
    ({"labels": "../incoming"}, r"--labels must be the name of one folder, .* got '\.\./incoming'"),
    ({"output": "a/b"}, "--output must be the name of one folder.*got 'a/b'"),
    ({"output": "same", "features": "same"}, "--output 'same' is also what the join reads"),
])
def test_what_can_t_be_joined_is_refused(
        jp: Target, started: list[dict[str, Any]], given: dict[str, str], says: str) -> None:
    with pytest.raises(CliError, match=says):
        feature_join.join(jp, STORY, GROUP, **{"labels": "l", "features": "f", "output": "o", **given})
    assert started == []


def test_a_file_of_another_kind_is_refused(jp: Target, tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("id\n")
    for place in (tmp_path / "labels.csv", tmp_path):
        with pytest.raises(CliError, match=r"needs a \.parquet file, or a folder with some"):
            feature_join.join(jp, STORY, GROUP, labels=str(place), features="f", output="o")


def test_only_home_joins() -> None:
    with pytest.raises(CliError, match="us trains nothing, so it joins nothing: use --deployment jp"):
        feature_join.join(Target.of("us"), STORY, GROUP, labels="l", features="f", output="o")


@pytest.mark.parametrize(("run_id", "code", "says"), [
    ("lucky", 0, "joined rows: s3://"), ("unlucky", 1, "arn:unlucky")])
def test_the_command_ends_as_the_join_does(
        jp: Target, started: list[dict[str, Any]], tmp_path: Path, run_id: str, code: int, says: str) -> None:
    (tmp_path / "rows.parquet").write_bytes(b"rows")
    place = str(tmp_path / "rows.parquet")
    done = CliRunner().invoke(main.app, ["features", "join", "--story", SLUG, "--labels", place, "--features", place,
                                         "--output", "o", "--run-id", run_id])
    assert done.exit_code == code
    assert says in done.output
    if code:
        assert isinstance(done.exception, CliError)
        assert "columns ['asked_at'] are missing" in str(done.exception)

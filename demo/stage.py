"""What every scene is given, and the few things that several scenes do."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cli import executions, flags, labels, status, traffic
from cli.executions import Finished
from cli.target import Target
from contracts import naming, pipeline
from contracts.datasets import LabelRow
from contracts.story import StoryContract
from demo.world import World

# A brief run continues from the champion's weights, gently: eight steps at the full learning rate lose more than
# they gain, and eight steps of the bare encoder may pass no gate. Without calibration rows the weights alone are int8.
BRIEF = {"WarmStart": "champion", "MaxSteps": "8", "LearningRate": "1e-5", "CalibrationRows": "0"}
RUN_TIMEOUT_S = 3_600.0  # a hang, not a slow machine: thousands of rows train for minutes on two busy cores


class SceneFailed(Exception):
    """The scene did not show what it promises; the message says what was seen instead."""


@dataclass(frozen=True, kw_only=True)
class Material:
    """The label file of the demo and what is known of it."""

    name: str
    path: Path
    kind: str  # real, made or own
    licence: str
    taxonomy: Mapping[str, Any]
    rows: tuple[LabelRow, ...]
    golden: tuple[LabelRow, ...]
    encoder: Path
    history: Path | None = None  # of the rows' customers, for the feature store


@dataclass(kw_only=True)
class Stage:
    """Shared by the scenes, in order: a later scene builds on what an earlier one left."""

    world: World
    target: Target
    story: StoryContract
    material: Material
    assembly: Path  # the synthesised templates
    say: Callable[[str], None]
    executions: list[Finished] = field(default_factory=list)
    serving: dict[str, float | None] = field(default_factory=dict)
    timings: dict[str, float] = field(default_factory=dict)

    @property
    def slug(self) -> str:
        return self.story.slug

    def retrain(self, *, name: str | None = None, **options: Any) -> Finished:
        """Start a retrain by hand and wait for its end."""
        arn = executions.start_retrain(self.target, self.slug, name=name, **options)
        return self.finish(arn)

    def finish(self, arn: str) -> Finished:
        run = arn.rsplit(":", 1)[-1]
        done = executions.wait(
            self.target, arn, timeout_s=RUN_TIMEOUT_S, on_state=lambda state: self.say(f"{run}: {state}")
        )
        self.executions.append(done)
        return done

    def settle(self) -> None:
        """Wait for every retrain that runs, whoever started it: the next scene wants the lease."""
        for found in executions.recent(self.target, self.slug, 100):
            if found["status"] == "RUNNING":
                self.finish(found["executionArn"])

    def ingest(self, path: Path) -> labels.Ingest:
        done = labels.ingest(
            self.target,
            path,
            story=self.slug,
            validation=labels.check(path),
            on_state=lambda state: self.say(f"labels: {state}"),
        )
        expect(
            done.execution.outcome == labels.INGESTED,
            f"ingest of {path.name} ended as {done.execution.outcome}: "
            f"{done.execution.error or done.execution.output}",
        )
        return done

    def pointer(self) -> dict[str, Any]:
        found = status.pointer(self.target, self.slug)
        if found is None:
            raise SceneFailed("there is no pointer: nothing was ever promoted")
        return found

    def endpoint(self) -> status.EndpointState:
        return status.endpoint(self.target, self.slug)

    def ask(self, text: str) -> dict[str, Any]:
        return traffic.ask(self.target, self.slug, text, cohort=None, daypart=None)

    def served_version(self) -> str:
        """The version that really answers, as the answer itself says."""
        return str(self.ask(self.material.golden[0].text)["model_version"])

    def evidence(self, run_id: str, file: str) -> dict[str, Any]:
        """A file that a run's evaluation left: evaluation.json or verdict.json."""
        folder = naming.run_prefix(self.slug, run_id) + pipeline.EVALUATION_FOLDER
        return self.read_json(f"s3://{self.target.bucket(naming.ARTIFACTS)}/{folder}{file}")

    def read_json(self, uri: str) -> dict[str, Any]:
        bucket, key = uri.removeprefix("s3://").split("/", 1)
        return dict(json.loads(self.target.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()))

    def audit_ids(self) -> set[str]:
        pages = (
            self.target.client("dynamodb")
            .get_paginator("scan")
            .paginate(TableName=naming.audit_table(self.target.deployment.name))
        )
        return {item["id"]["S"] for page in pages for item in page["Items"]}

    def write_labels(self, name: str, rows: Sequence[Mapping[str, Any]]) -> Path:
        """A label file in the demo's folder, with the label set of the material beside it if it has one."""
        path = self.world.folder / f"{name}.jsonl"
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
        beside = self.material.path.with_suffix(".taxonomy.json")
        if beside.exists():
            path.with_suffix(".taxonomy.json").write_bytes(beside.read_bytes())
        return path

    @contextmanager
    def flag(self, flag: str, value: bool, *, story: str, reason: str) -> Iterator[None]:
        """A flag set while the block runs, and back afterwards even when the scene fails."""
        flags.write(self.target, flag, value, story=story, reason=reason)
        try:
            yield
        finally:
            flags.write(self.target, flag, not value, story=story, reason=f"{reason}: over")

    @contextmanager
    def unchanged(self) -> Iterator[None]:
        """What is promoted and what serves must be the same after the block."""
        before = (self.pointer()["version"], self.endpoint().config, self.served_version())
        yield
        after = (self.pointer()["version"], self.endpoint().config, self.served_version())
        expect(before == after, f"pointer, endpoint and answers were {before}, now they are {after}")


def expect(truth: bool, otherwise: str) -> None:
    if not truth:
        raise SceneFailed(otherwise)


def expect_outcome(run: Finished, wanted: str) -> None:
    expect(
        run.outcome == wanted,
        f"{run.name} ended as {run.outcome}, wanted {wanted}; last states: "
        f"{' > '.join(run.states[-4:])}{': ' + run.why[:600] if run.why else ''}",
    )

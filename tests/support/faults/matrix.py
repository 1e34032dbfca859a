"""Tries faults at tasks and says what held.

A pair is a task and a kind of fault. A kind that is meant to be outlived is carried at every task of a scene by one
execution; when that does not hold, each of its pairs is tried alone, so that the pair at fault is named. Any other
pair has an execution of its own. After every execution the invariants are checked, and when it ended otherwise than a
healthy one or left its lease, the same work is started once more without the fault and has to reach the healthy end.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from contracts import events
from tests.support.deployment import PATIENCE_S
from tests.support.embedded import eventually
from tests.support.faults import invariants
from tests.support.faults.kinds import KINDS, Fault, Kind, NotApplicable, Seen
from tests.support.faults.scenes import SCENES, Played, Scene, Stage, calls_of
from tests.support.faults.tasks import RETRAIN, Task

HELD, BROKEN, NOT_APPLICABLE = "held", "broken", "not applicable"
_SETTLE_S = 20.0  # what an execution left to others (an old fleet, a stopped pipeline) has its end within this time


@dataclass(frozen=True, kw_only=True)
class Result:
    """One pair. `why`: the reason why it does not apply, or what did not hold; `ended`: how its execution ended."""

    task: str
    kind: str
    state: str
    scene: str = ""
    ended: str = ""
    why: str = ""
    seconds: float = 0.0
    shared: int = 1  # how many pairs the execution carried
    reached: bool = True  # whether the execution came to the task


@dataclass(frozen=True, kw_only=True)
class Row:
    scene: Scene
    kind: Kind
    tasks: tuple[Task, ...]


@dataclass
class Matrix:
    stage: Stage
    progress: Callable[[str], None] = lambda text: None
    healthy: dict[str, Played] = field(default_factory=dict)  # scene -> its healthy execution
    _scene_of: dict[Task, Scene] = field(default_factory=dict)

    def rehearse(self, scenes: Iterable[Scene] = SCENES) -> None:
        """Play each scene without a fault of ours: what it passes, and how it ends."""
        for scene in scenes:
            self.stage.prepare(scene)
            before = invariants.look(self.stage.jp)
            played = self.stage.play(scene, run_id=self.stage.new_run())
            wrong = self.settled(before, played)
            assert not wrong, f"{scene.name} does not hold without a fault of ours: {wrong}"
            self.healthy[scene.name] = played
            by_key = {(task.machine, task.name): task for task in self.stage.machines.tasks}
            for entry in played.passed:
                self._scene_of.setdefault(by_key[entry], scene)
            self.progress(f"healthy: {scene.name} -> {played.outcome}")

    def unreached(self) -> list[str]:
        """Tasks that no scene passes: a new state needs a scene."""
        return [str(task) for task in self.stage.machines.tasks if task not in self._scene_of]

    def rows(self, kinds: Sequence[Kind] = KINDS, tasks: Sequence[Task] | None = None) -> list[Row]:
        """What is tried together: the tasks of a scene with one kind of fault."""
        chosen = [task for task in (self.stage.machines.tasks if tasks is None else tasks) if task in self._scene_of]
        found = [Row(scene=scene, kind=kind, tasks=tuple(task for task in chosen if self._scene_of[task] is scene))
                 for scene in SCENES for kind in kinds]
        return [row for row in found if row.tasks]

    def try_row(self, row: Row) -> Iterator[Result]:
        scene, kind, tasks = row.scene, row.kind, row.tasks
        seen = self.seen(row)
        armed: list[tuple[Task, list[Fault]]] = []
        for task in tasks:
            found = kind.rule(task, seen)
            if isinstance(found, NotApplicable):
                yield Result(task=str(task), kind=kind.name, state=NOT_APPLICABLE, why=found.reason, scene=scene.name)
            else:
                armed.append((task, found))
        together = [pair for pair in armed if kind.outlives(pair[0])]
        alone = [pair for pair in armed if pair not in together]
        shared: list[Result] = []
        if together:
            shared = self._try(scene, kind, together)
            # One that ended early has not tried them all, and one that broke something does not say which did.
            if all(r.state != BROKEN and r.ended == self.healthy[scene.name].outcome for r in shared):
                yield from shared
                shared = []
            elif len(together) > 1:
                alone = together + alone
        results = [result for pair in alone for result in self._try(scene, kind, [pair])]
        # What only their meeting breaks is broken, too; a task that it never came to has been tried alone.
        met = {r.task for r in shared if r.state == BROKEN and r.reached}
        blamed = met if not any(r.state == BROKEN for r in results) else set()
        yield from (r for r in results if r.task not in blamed)
        yield from (r for r in shared if r.task in blamed or len(together) == 1)

    def seen(self, row: Row) -> Seen:
        """What the rules may look at."""
        scene = row.scene
        return Seen(machines=self.stage.machines, calls=lambda task: calls_of(
            self.healthy[scene.name], task, self._machine(scene)))

    def _machine(self, scene: Scene) -> str:
        return self.stage.machines.entered_at(scene.entry) if scene.entry else RETRAIN

    def _try(self, scene: Scene, kind: Kind, group: Sequence[tuple[Task, list[Fault]]]) -> list[Result]:
        self.stage.prepare(scene)
        began, before, run_id = time.monotonic(), invariants.look(self.stage.jp), self.stage.new_run()
        flat = [(task, fault) for task, faults in group for fault in faults]
        played = self.stage.play(scene, run_id=run_id, faults=flat)
        wrong = self.settled(before, played)
        expected = self.healthy[scene.name].outcome
        if played.outcome != expected or not self.stage.jp.lease_is_free():
            wrong += self._again(scene, run_id)
        if played.outcome == events.FAILED != expected and all(kind.outlives(task) for task, _ in group):
            wrong.append(f"it is to be outlived, and the run ended as {played.outcome}, not as {expected}")
        seconds = time.monotonic() - began
        results = []
        for task, _ in group:
            at = [n for n, (other, _) in enumerate(flat) if other is task]
            entered = (task.machine, task.name) in played.passed
            if entered and not sum(played.used[n] for n in at):
                results.append(Result(task=str(task), kind=kind.name, state=NOT_APPLICABLE, scene=scene.name,
                                      ended=played.outcome, why="it made no such call while it was at work"))
                continue
            found = wrong if entered else [*wrong, f"{task} was not reached"]
            results.append(Result(task=str(task), kind=kind.name, state=BROKEN if found else HELD, scene=scene.name,
                                  ended=played.outcome, why="; ".join(found), seconds=round(seconds, 2),
                                  shared=len(group), reached=entered))
        self.progress(f"{scene.name}: {kind.name} at {', '.join(str(task) for task, _ in group)} -> {played.outcome}"
                      f"{' BROKEN: ' + '; '.join(wrong) if wrong else ''} ({seconds:.1f} s)")
        return results

    def _again(self, scene: Scene, run_id: str) -> list[str]:
        """The same work without the fault reaches the healthy end, and what serves is what the pointer names."""
        before = invariants.look(self.stage.jp)
        played = self.stage.play(scene, run_id=run_id, try_=2)
        wrong = self.settled(before, played)
        expected, after = self.healthy[scene.name].outcome, invariants.look(self.stage.jp)
        if played.outcome != expected:
            wrong.append(f"started again it ended as {played.outcome}, not {expected}")
        if after.answers != after.version:
            wrong.append(f"after that version {after.answers or 'none'} serves, the pointer names {after.version}")
        return [f"again: {text}" for text in wrong]

    def settled(self, before: invariants.World, played: Played) -> list[str]:
        """What is broken for longer than it takes to settle."""
        stops = [c["status"] for c in played.calls if c["operation"] == "StopPipelineExecution"]
        # What SageMaker refuses to stop ends by itself, and on-call was told.
        within_s = PATIENCE_S if stops and 200 not in stops and invariants.told_on_call(played) else _SETTLE_S
        with suppress(AssertionError):  # the invariants say what is left
            eventually(lambda: not list(invariants.left_running(self.stage.jp)), within_s=within_s)
        return invariants.broken(self.stage.jp, before, played)

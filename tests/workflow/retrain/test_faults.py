"""A slice of the fault matrix (benchmarks/fault_matrix.py): each kind once, at states that need no training."""

from __future__ import annotations

import pytest

from contracts import events
from tests.support.deployment import Deployed
from tests.support.faults import invariants
from tests.support.faults.kinds import KINDS
from tests.support.faults.matrix import HELD, NOT_APPLICABLE, Matrix, Result, Row
from tests.support.faults.scenes import PROMOTE, RECONCILE, ROLL_BACK, Scene, Stage
from tests.support.faults.tasks import Machines

pytestmark = pytest.mark.workflow
BY_NAME = {kind.name: kind for kind in KINDS}
OUTLIVED = [kind.name for kind in KINDS if kind.outlived]


@pytest.fixture(scope="module")
def matrix(promoted: Deployed) -> Matrix:
    """With the scene that costs least rehearsed, and what the first promotion had brought to each state."""
    stage = Stage(machines=Machines(promoted))
    stage.record_from(promoted.runs()["first-promotion"])
    found = Matrix(stage=stage)
    found.rehearse([RECONCILE])
    return found


def tried(matrix: Matrix, kind: str, *tasks: str) -> dict[str, Result]:
    """Pairs of the kind at these tasks of a reconcile run, or at all of them."""
    (row,) = matrix.rows([BY_NAME[kind]], [t for t in matrix.stage.machines.tasks if not tasks or str(t) in tasks])
    return {result.task: result for result in matrix.try_row(row)}


@pytest.mark.parametrize("kind", OUTLIVED)
def test_a_reconcile_run_outlives_it_at_every_task(jp: Deployed, matrix: Matrix, kind: str) -> None:
    found = tried(matrix, kind)
    assert {result.why for result in found.values() if result.state == HELD} == {""}, found
    assert {result.ended for result in found.values() if result.state == HELD} == {events.RECONCILED}, found
    assert {task for task, result in found.items() if result.state == HELD} >= {
        "retrain/TakeLease", "retrain/ReadSwitches", "retrain/RecordOutcome", "retrain/GiveLeaseBack",
        "release/PlanRelease", "release/CheckRelease"}
    assert all(result.why for result in found.values() if result.state == NOT_APPLICABLE)


@pytest.mark.parametrize(("kind", "task", "ended"), [
    ("fails_for_good", "release/PlanRelease", events.FAILED),
    ("fails_for_good", "retrain/RecordOutcome", events.FAILED),
    ("fails_for_good", "retrain/GiveLeaseBack", events.RECONCILED),
    ("ssm_down", "retrain/ReadSwitches", events.RECONCILED)])
def test_what_is_not_outlived_ends_well_and_the_same_work_is_done_when_it_is_started_again(
        jp: Deployed, matrix: Matrix, kind: str, task: str, ended: str) -> None:
    assert [(r.state, r.ended, r.why) for r in tried(matrix, kind, task).values()] == [(HELD, ended, "")]


@pytest.mark.parametrize(("scene", "kind", "task"), [
    (PROMOTE, "registry_down", "retrain/PublishSignedCopy"),
    (ROLL_BACK, "silently_rolled_back", "release/UpdateEndpoint")])
def test_a_run_that_fails_in_the_middle_of_a_release_leaves_the_old_version_whole(
        jp: Deployed, matrix: Matrix, scene: Scene, kind: str, task: str) -> None:
    stage = matrix.stage
    (found,) = (t for t in stage.machines.tasks if str(t) == task)
    faults = BY_NAME[kind].rule(found, matrix.seen(Row(scene=scene, kind=BY_NAME[kind], tasks=(found,))))
    assert isinstance(faults, list)
    stage.prepare(scene)
    before = invariants.look(jp)
    played = stage.play(scene, run_id=stage.new_run(), faults=[(found, fault) for fault in faults])
    assert played.outcome == events.FAILED
    assert sum(played.used) > 0
    assert matrix.settled(before, played) == []
    assert invariants.look(jp) == before


def test_a_roll_back_that_the_registry_does_not_hear_of_is_done_and_on_call_is_told(
        jp: Deployed, matrix: Matrix) -> None:
    """As a failure it would be started again, and a second roll-back goes further back."""
    stage = matrix.stage
    stage.prepare(ROLL_BACK)
    before = invariants.look(jp)
    assert before.pointer is not None
    (task,) = (t for t in stage.machines.tasks if str(t) == "retrain/PromotePrevious")
    deaf = {"service": "sagemaker", "operation": "*ModelPackage*", "kind": "error"}
    played = stage.play(ROLL_BACK, run_id=stage.new_run(), faults=[(task, deaf)])
    assert (played.outcome, played.used[0] > 0) == (events.ROLLED_BACK, True)
    assert matrix.settled(before, played) == []
    assert invariants.told_on_call(played)
    assert jp.pointer()["version"] == before.pointer["previous"]["version"] == jp.ask()["model_version"]

"""Scenes: executions that between them pass every task of the retrain machine and of the release machine.

A scene is a whole execution, or one that enters the retrain machine at a state with what a healthy run had brought
there: the same definition, role and data, without training again. Faults of its own steer some scenes to states
that only a failure leads to.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cli import executions, status
from contracts import events, naming, records
from contracts.kill_switches import promotion_flag
from tests.support.deployment import BRIEF, PATIENCE_S, SLUG, Deployed
from tests.support.embedded import eventually
from tests.support.faults.kinds import Call, Fault
from tests.support.faults.tasks import RELEASE, RETRAIN, Machines, Task

JUDGE = "JudgeCandidate"  # the first state behind the training
_numbers = itertools.count(1)


@dataclass(frozen=True, kw_only=True)
class Scene:
    """`entry`: the state to enter at, or empty for a whole execution with `body`.

    `steers`: (MACHINE/STATE, fault at its own call or at the service that the fault names). A state that no healthy run
    enters gets what it had brought to the state `like`, and what the scene `brings`.
    """

    name: str
    entry: str = ""
    body: Mapping[str, Any] = field(default_factory=dict)
    steers: tuple[tuple[str, Fault], ...] = ()
    never_promoted: bool = False
    like: str = ""
    brings: Mapping[str, Any] = field(default_factory=dict)


def _steer(state: str, kind: str, **more: Any) -> tuple[str, Fault]:
    return state, {"kind": kind, **more}


_NO_REGISTRY = {"service": "sagemaker", "operation": "*ModelPackage*"}
_NO_SSM = {"service": "ssm", "operation": "*"}
_WORSE = json.dumps({"Error": "ShadowWorse", "Cause": "worse, with its numbers"})  # as a child's failure is told
RECONCILE = Scene(name="reconcile", body={"mode": "reconcile", "trigger": "spec-change"})
ROLL_BACK = Scene(name="roll back", body={"mode": "rollback"})
PROMOTE = Scene(name="promote", entry=JUDGE)
# A task is tried in the first scene that passes it: where most is at stake, and no training where none is needed.
SCENES = (
    PROMOTE,
    ROLL_BACK,
    RECONCILE,
    Scene(name="no new labels", body={"mode": "retrain", "trigger": "weekly"}),
    Scene(name="a run fails", body={"mode": "retrain", "trigger": "weekly"},
          steers=(_steer("retrain/PlanRun", "error"),)),
    Scene(name="retrain", body={"mode": "retrain", "hyperparameters": BRIEF}),
    Scene(name="training is stopped", body={"mode": "retrain", "hyperparameters": BRIEF},
          steers=(_steer("retrain/DescribePipeline", "error"),)),
    Scene(name="a promotion fails", entry=JUDGE, steers=(_steer("retrain/Promote", "error"),)),
    Scene(name="a release can not start", entry=JUDGE, steers=(_steer("retrain/Release", "error"),)),
    Scene(name="switched off after the release", entry=JUDGE,
          steers=(_steer("retrain/ReadSwitchesBeforePromote", "error", **_NO_SSM),)),
    Scene(name="switched off during the release", entry=JUDGE,
          # It stays off: where the abort does not get through, the promotion is what must not.
          steers=(_steer("release/ReadSwitches", "error", **_NO_SSM),
                  _steer("retrain/ReadSwitchesBeforePromote", "error", **_NO_SSM))),
    Scene(name="not announced", entry=JUDGE, steers=(_steer("retrain/Announce", "error"),)),
    Scene(name="registry not told", entry=JUDGE, steers=(_steer("retrain/Promote", "error", **_NO_REGISTRY),)),
    Scene(name="registry not told of a roll-back", body={"mode": "rollback"},
          steers=(_steer("retrain/PromotePrevious", "error", **_NO_REGISTRY),)),
    Scene(name="a model's answer is lost", entry=JUDGE,
          steers=(_steer("release/CreateModel", "lose_answer", times=1),)),
    Scene(name="a config's answer is lost", entry=JUDGE,
          steers=(_steer("release/CreateEndpointConfig", "lose_answer", times=1),)),
    Scene(name="a first release is undone", entry="ReadSwitchesBeforeRelease", never_promoted=True,
          steers=(_steer("retrain/ReadSwitchesBeforePromote", "error", **_NO_SSM),)),
    Scene(name="worse in its shadow", entry="ReadVerdict", like="ReadSwitchesBeforeRelease",
          brings={"error": {"Error": "States.TaskFailed", "Cause": _WORSE}, "serving_touched": True}),
)


@dataclass(frozen=True, kw_only=True)
class Played:
    """One ended execution with its children. `passed`: the tasks entered, in order. `used`: how often each armed
    fault hit, in the order in which they were armed."""

    arn: str
    name: str
    run_id: str
    try_: int
    outcome: str
    passed: tuple[tuple[str, str], ...]  # (machine, state)
    used: tuple[int, ...]
    candidate: str = ""  # the version that the execution began with; later ones it registered itself
    calls: tuple[Call, ...] = field(repr=False, default=())


@dataclass
class Stage:
    """Plays scenes in one deployment. `recorded`: state -> what a healthy run had brought there."""

    machines: Machines
    recorded: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def jp(self) -> Deployed:
        return self.machines.jp

    def record(self) -> None:
        """One real training; afterwards there is a candidate that was published and not promoted."""
        arn = self.jp.start(reason="what later executions begin with")
        self.jp.wait_for_state(arn, "PublishSignedCopy")
        with self.jp.flag(promotion_flag(SLUG).name, False):
            self.jp.finish(arn)
        self.record_from(arn)

    def record_from(self, arn: str) -> None:
        """An execution that trained and published, whatever became of it then."""
        pages = self.jp.aws.client("stepfunctions").get_paginator("get_execution_history").paginate(executionArn=arn)
        for event in (event for page in pages for event in page["events"]):
            if "stateEnteredEventDetails" in event:
                details = event["stateEnteredEventDetails"]
                self.recorded.setdefault(details["name"], json.loads(details["input"]))

    def prepare(self, scene: Scene) -> None:
        """What a scene needs to be there, or not to be there."""
        self._forget_rejection()
        pointer = status.pointer(self.jp.target, SLUG)
        if scene.never_promoted:
            self._forget_promotion()
        elif pointer is None or (scene.body.get("mode") == "rollback" and not pointer.get("previous")):
            played = self.play(PROMOTE, run_id=self.new_run())
            assert played.outcome == events.PROMOTED, played

    def _forget_rejection(self) -> None:
        """As if no scene before had found the recorded candidate to be worse in its shadow."""
        package = self.recorded["ReadSwitchesBeforeRelease"]["published"]["model_package_arn"]
        sagemaker = self.jp.aws.client("sagemaker")
        if sagemaker.describe_model_package(ModelPackageName=package)["ModelApprovalStatus"] == "Rejected":
            sagemaker.update_model_package(ModelPackageArn=package, ModelApprovalStatus="PendingManualApproval")

    def _forget_promotion(self) -> None:
        """As if nothing had ever been promoted."""
        sagemaker = self.jp.aws.client("sagemaker")
        self.jp.aws.client("dynamodb").delete_item(
            TableName=naming.control_table(self.jp.target.deployment.name),
            Key={records.CONTROL_PARTITION_KEY: {"S": SLUG}, records.CONTROL_SORT_KEY: {"S": records.POINTER}})
        if self.jp.endpoint().status != "absent":
            sagemaker.delete_endpoint(EndpointName=naming.endpoint(SLUG))

    def new_run(self) -> str:
        return f"run-{next(_numbers):04d}"

    def play(self, scene: Scene, *, run_id: str, faults: Sequence[tuple[Task, Fault]] = (), steered: bool = True,
             try_: int = 1) -> Played:
        """Arm, start, wait for the end, disarm. A fault holds only while an execution is in its task."""
        aws, name = self.jp.aws, f"{run_id}-try-{try_}"
        machine = self.machines.entered_at(scene.entry) if scene.entry else RETRAIN
        aws.local("DELETE", "calls")
        arn = self.jp.target.state_machine_arn(machine).replace(":stateMachine:", ":execution:") + f":{name}"
        body = self._entering(scene, run_id, arn) if scene.entry else {**scene.body, "reason": run_id}
        steers = [(self._task(state), fault) for state, fault in (scene.steers if steered else ())]
        for task, fault in (*faults, *steers):
            aws.local("POST", "faults", armed(task, fault, machine))
        try:
            executions.start(self.jp.target, machine, body, name=name)
            eventually(lambda: self._ended(arn), within_s=PATIENCE_S)
            used = tuple(int(fault["used"]) for fault in aws.local("GET", "faults"))
        finally:
            aws.local("DELETE", "faults")
        states, _ = executions.states_entered(self.jp.target, arn)
        status = aws.client("stepfunctions").describe_execution(executionArn=arn)["status"]
        return Played(arn=arn, name=name, run_id=run_id if scene.entry else name,
                      try_=try_ if scene.entry else 1,
                      outcome=executions.outcome(status, states), passed=self._passed(states, name), used=used,
                      candidate=str(body.get("published", {}).get("version", "")),
                      calls=tuple(aws.local("GET", "calls")))

    def _task(self, state: str) -> Task:
        return next(task for task in self.machines.tasks if str(task) == state)

    def _ended(self, arn: str) -> bool:
        found = self.jp.aws.client("stepfunctions").describe_execution(executionArn=arn)
        return str(found["status"]) != "RUNNING"

    def _entering(self, scene: Scene, run_id: str, arn: str) -> dict[str, Any]:
        """A healthy run's data at the state, as a run of this name that holds the lease."""
        recorded = self.recorded[scene.like or scene.entry]
        self._copy_manifest(str(recorded["run_id"]), run_id)
        return {**recorded, **scene.brings, "run_id": run_id, "execution": arn, "lease": self.jp.lease("take", arn)}

    def _copy_manifest(self, recorded: str, run_id: str) -> None:
        """A registered model names its run, and whoever expires snapshots asks what that run was trained on."""
        lake = self.jp.target.bucket(naming.LAKE)
        source, target = (naming.dataset_prefix(SLUG, run) + naming.MANIFEST_FILE for run in (recorded, run_id))
        self.jp.aws.client("s3").copy_object(Bucket=lake, Key=target, CopySource={"Bucket": lake, "Key": source})

    def _passed(self, states: Sequence[str], name: str) -> tuple[tuple[str, str], ...]:
        tasks = {(task.machine, task.name) for task in self.machines.tasks}
        found = [(RETRAIN, state) for state in states]
        sfn = self.jp.aws.client("stepfunctions")
        listed = sfn.list_executions(stateMachineArn=self.jp.target.state_machine_arn(RELEASE), maxResults=50)
        for child in listed["executions"]:
            if child["name"] == name or child["name"].startswith(f"{name}-"):
                found += [(RELEASE, s) for s in executions.states_entered(self.jp.target, child["executionArn"])[0]]
        return tuple(dict.fromkeys(entry for entry in found if entry in tasks))


def armed(task: Task, fault: Fault, machine: str) -> Fault:
    """The fault for this task only. `machine`: under which name the retrain machine runs."""
    own = {"service": task.service, "operation": task.operation, "role": task.role}
    where = machine if task.machine == RETRAIN else task.machine
    return {**(own if "service" not in fault else {}), **fault, "state": f"{where}/{task.name}"}


def calls_of(played: Played, task: Task, machine: str) -> tuple[Call, ...]:
    """What the task's function called while a healthy execution was in the task."""
    where = f"{machine if task.machine == RETRAIN else task.machine}/{task.name}"
    return tuple(c for c in played.calls if c["role"].endswith(f"/{task.function}") and where in c["states"])


def put_canary(jp: Deployed, *, bake_s: int, termination_wait_s: int, watch_s: int | None) -> None:
    """Another canary in the serving spec, and another shadow before it or, with None, no shadow.

    The change starts a reconcile run; back when that has ended.
    """
    ssm, name = jp.aws.client("ssm"), naming.serving_spec_parameter(SLUG)
    spec = json.loads(ssm.get_parameter(Name=name)["Parameter"]["Value"])
    spec["canary"] |= {"bake_s": bake_s, "termination_wait_s": termination_wait_s}
    spec["shadow"] = None if watch_s is None else {**spec["shadow"], "watch_s": watch_s}
    known = jp.runs()
    ssm.put_parameter(Name=name, Value=json.dumps(spec, sort_keys=True, separators=(",", ":")), Type="String",
                      Overwrite=True)
    new = eventually(lambda: jp.runs().keys() - known.keys(), within_s=60)
    jp.finish(jp.runs()[new.pop()])

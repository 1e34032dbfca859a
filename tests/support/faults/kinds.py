"""The kinds of faults, and by which rule a kind makes sense for a task.

A rule looks at what the task calls and at what its function's role may do, never at its name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from tests.support.deployment import Deployed
from tests.support.faults.tasks import Machines, Task

Fault = dict[str, Any]
Call = dict[str, Any]
_READS = ("Get", "Describe", "List", "Query", "BatchGet", "Verify")
_FLEETS = ("UpdateEndpoint", "CreateEndpoint")
_JOBS = ("ProcessingJob", "PipelineExecution")


@dataclass(frozen=True)
class NotApplicable:
    reason: str


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What a rule may look at beside the task."""

    machines: Machines
    calls: Callable[[Task], Sequence[Call]]  # those of the task's function while a healthy execution was in the task

    @property
    def jp(self) -> Deployed:
        return self.machines.jp

    @cached_property
    def _actions(self) -> dict[str, frozenset[str]]:
        return {}

    def actions(self, function: str) -> frozenset[str]:
        """IAM actions of a function's role."""
        if function not in self._actions:
            aws = self.jp.aws
            role = aws.client("lambda").get_function_configuration(
                FunctionName=function)["Role"].rpartition("/")[2]
            iam = aws.client("iam")
            documents = [iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
                         for name in iam.list_role_policies(RoleName=role)["PolicyNames"]]
            self._actions[function] = frozenset(
                action for document in documents for statement in document["Statement"]
                for action in _listed(statement["Action"]))
        return self._actions[function]

    def inside(self, task: Task) -> tuple[Task, ...]:
        """The task itself, or the tasks of the machine that it runs."""
        return tuple(t for t in self.machines.tasks if t.machine == task.child) if task.child else (task,)


def _listed(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


Rule = Callable[[Task, Seen], list[Fault] | NotApplicable]


@dataclass(frozen=True, kw_only=True)
class Kind:
    """`outlived`: the task's retries are meant to get over it, so that one execution can carry it at every task."""

    name: str
    says: str
    rule: Rule = field(repr=False)
    outlived: bool = False

    def outlives(self, task: Task) -> bool:
        """A job that is killed is not tried again: its work failed, and its run says so."""
        return self.outlived and (self.name != "killed" or bool(task.function))


def _own(kind: str, **more: Any) -> Rule:
    """The task's own call meets it."""
    return lambda task, seen: [{"service": task.service, "operation": task.operation, "role": task.role,
                                "kind": kind, **more}]


def _down(says: str, action: str, **fault: Any) -> Rule:
    """A service can't be reached while the task is at work; `action` begins what one must be granted to ask it."""

    def rule(task: Task, seen: Seen) -> list[Fault] | NotApplicable:
        asks = [t for t in seen.inside(task) if t.function and any(action in a for a in seen.actions(t.function))]
        return [{"kind": "error", **fault}] if asks else NotApplicable(f"nothing that it runs may ask {says}")

    return rule


def _rolled_back(task: Task, seen: Seen) -> list[Fault] | NotApplicable:
    if not any(t.service == "sagemaker" and t.operation in _FLEETS for t in seen.inside(task)):
        return NotApplicable("it asks for no fleet")
    wanted = [task.operation] if task.operation in _FLEETS else list(_FLEETS)
    return [{"service": "sagemaker", "operation": name, "kind": "roll_back", "times": 1} for name in wanted]


def _killed(task: Task, seen: Seen) -> list[Fault] | NotApplicable:
    """A function when it has just done what it is for, before it can say so; a job in the middle."""
    if task.function:
        calls = seen.calls(task)
        if not calls:
            return NotApplicable("its function calls nothing, so there is no middle")
        last = ([c for c in calls if not c["operation"].startswith(_READS)] or calls)[-1]
        return [{"service": last["service"], "operation": last["operation"], "role": task.function, "kind": "kill",
                 "times": 1}]
    if any(job in task.operation for job in _JOBS):
        return [{"service": task.service, "operation": task.operation, "role": task.role, "kind": "kill", "times": 1}]
    if task.child:
        return NotApplicable("its child's tasks are killed one by one")
    return NotApplicable("no process of ours works for it")


KINDS = (
    Kind(name="throttled", says="its call is throttled twice", outlived=True, rule=_own("throttle", times=2)),
    Kind(name="times_out", says="its call is not answered; a function hangs at its first AWS call until its time is "
                                "over", outlived=True, rule=_own("timeout", seconds=1.0, times=1)),
    Kind(name="errors_then_well", says="its call gets 5xx twice", outlived=True, rule=_own("error", times=2)),
    Kind(name="answer_lost", says="its call happens, the answer is lost", outlived=True,
         rule=_own("lose_answer", times=1)),
    Kind(name="delivered_twice", says="its call happens twice at the same time", outlived=True,
         rule=_own("twice", times=1)),
    Kind(name="killed", says="the function's process is killed after its last write, the job's in the middle",
         outlived=True, rule=_killed),
    Kind(name="fails_for_good", says="its call gets 5xx each time", rule=_own("error")),
    Kind(name="ssm_down", says="SSM fails while it is at work", rule=_down("SSM", "ssm:", service="ssm")),
    Kind(name="registry_down", says="the model registry fails while it is at work",
         rule=_down("the registry", "ModelPackage", service="sagemaker", operation="*ModelPackage*")),
    Kind(name="silently_rolled_back", says="the endpoint's new fleet never serves, and nobody says so",
         rule=_rolled_back),
)

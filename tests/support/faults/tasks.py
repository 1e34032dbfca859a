"""Every task of the deployed state machines, and entering a machine in the middle.

The definitions are read from what is deployed, which is what the template says, so a new state joins by itself.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from contracts import naming
from tests.support.deployment import SLUG, Deployed

RETRAIN, RELEASE = naming.retrain_state_machine(SLUG), naming.release_state_machine(SLUG)
_OPTIMISED = {"lambda:invoke": ("lambda", "InvokeFunction"), "sns:publish": ("sns", "Publish"),
              "states:startExecution.sync:2": ("states", "StartExecution")}


@dataclass(frozen=True, kw_only=True)
class Task:
    """One task and the call that it makes. `function`: the invoked function; `child`: the machine that it runs."""

    machine: str
    name: str
    service: str
    operation: str
    role: str  # name of the machine's role, which makes the call
    function: str = ""
    child: str = ""

    def __str__(self) -> str:
        return f"{self.machine.removeprefix(f'{naming.PROJECT}-{SLUG}-')}/{self.name}"


@dataclass
class Machines:
    """The two machines of one deployment; `entered_at` makes the retrain machine with another first state."""

    jp: Deployed

    @cached_property
    def tasks(self) -> tuple[Task, ...]:
        return tuple(task for machine in (RETRAIN, RELEASE) for task in self._tasks(machine))

    def _tasks(self, machine: str) -> list[Task]:
        described = self._described(machine)
        role = described["roleArn"].rpartition("/")[2]
        return [_task(machine, name, state, role)
                for name, state in json.loads(described["definition"])["States"].items() if state["Type"] == "Task"]

    def _described(self, machine: str) -> dict[str, Any]:
        sfn = self.jp.aws.client("stepfunctions")
        return dict(sfn.describe_state_machine(stateMachineArn=self.jp.target.state_machine_arn(machine)))

    def entered_at(self, state: str) -> str:
        """Name of a machine that is the retrain machine but for where it starts."""
        name = f"{RETRAIN}-from-{state}"
        sfn = self.jp.aws.client("stepfunctions")
        known = {machine["name"] for machine in sfn.list_state_machines()["stateMachines"]}
        if name not in known:
            described = self._described(RETRAIN)
            definition = json.loads(described["definition"])
            # No state may be out of reach, so the old way in stays beside the new one.
            enter = {"Type": "Choice", "Default": state, "Choices": [
                {"Variable": "$.mode", "IsPresent": True, "Next": definition["StartAt"]}]}
            definition |= {"StartAt": "Enter", "States": {"Enter": enter, **definition["States"]}}
            sfn.create_state_machine(name=name, definition=json.dumps(definition), roleArn=described["roleArn"])
        return name


def _task(machine: str, name: str, state: dict[str, Any], role: str) -> Task:
    resource = state["Resource"].split(":states:::", 1)[1]
    if resource.startswith("aws-sdk:"):
        _, service, action = resource.split(":")
        service, operation = service, action[0].upper() + action[1:]
    else:
        service, operation = _OPTIMISED[resource]
    parameters = state["Parameters"]
    return Task(machine=machine, name=name, service=service, operation=operation, role=role,
                function=parameters.get("FunctionName", "").rpartition(":function:")[2],
                child=parameters.get("StateMachineArn", "").rpartition(":")[2])

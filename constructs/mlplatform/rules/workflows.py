"""State machines: whatever can fail is tried again with backoff and then caught."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mlplatform.rules.rule import Finding, rule
from mlplatform.rules.templates import Deployed

MACHINE = "AWS::StepFunctions::StateMachine"
_CAN_FAIL = ("Task", "Map", "Parallel")

State = Mapping[str, Any]


def states(definition: Mapping[str, Any], within: str = "") -> Iterator[tuple[str, State]]:
    """(name, state) of every state, those inside a Map or Parallel as `Outer.Inner`."""
    for name, state in definition.get("States", {}).items():
        yield f"{within}{name}", state
        for inner in (state.get("ItemProcessor"), state.get("Iterator"), *state.get("Branches", [])):
            if inner:
                yield from states(inner, f"{within}{name}.")


@rule("StateRetryAndCatch", concern="every step can fail or run twice, and nothing is left running",
      why="a throttled call must not fail a run, and a run that fails must roll back, record it and tell somebody",
      mend="make the state with asl.call, asl.function, asl.child or asl.notify, which retry with backoff and catch")
def retry_and_catch(deployed: Deployed) -> Iterator[Finding]:
    for machine in deployed.of_type(MACHINE):
        for name, state in states(machine.document):
            if state["Type"] not in _CAN_FAIL:
                continue
            backs_off = [r for r in state.get("Retry", [])
                         if r.get("BackoffRate", 2.0) > 1 and r.get("MaxAttempts", 3) > 0]
            if not backs_off:
                yield Finding(on=machine, where=f"States.{name}.Retry", what="no retry whose interval grows")
            caught = state.get("Catch", [])
            if not caught or "States.ALL" not in caught[-1]["ErrorEquals"]:
                yield Finding(on=machine, where=f"States.{name}.Catch", what="its last Catch is not States.ALL")

"""What AWS checks when a state machine is created, and the parsed programs, kept by definition.

Parsing takes a quarter of a second per hundred states, so a definition is parsed once.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

_STATE_TYPES = {"Pass", "Task", "Choice", "Wait", "Succeed", "Fail", "Parallel", "Map"}
_TERMINAL = {"Succeed", "Fail"}


class InvalidDefinition(ValueError):
    """The message is what CreateStateMachine answers with."""


@lru_cache(maxsize=64)
def program(definition: str) -> Any:
    """The interpreter's program. Programs hold no state of an execution, so one serves all."""
    from moto.stepfunctions.parser.asl.parse.asl_parser import AmazonStateLanguageParser, ASLParserException

    try:
        document = json.loads(definition)
    except ValueError as error:
        raise InvalidDefinition(f"INVALID_JSON_DESCRIPTION: {error}") from error
    problems = list(_problems(document, ""))
    if problems:
        raise InvalidDefinition("SCHEMA_VALIDATION_FAILED: " + "; ".join(problems))
    try:
        return AmazonStateLanguageParser.parse(json.dumps(_understood(document)))[0]
    except (ASLParserException, ValueError, RuntimeError, AttributeError, TypeError, KeyError) as error:
        # the parser's own errors are these; what it cannot read AWS does not take either
        raise InvalidDefinition(f"SCHEMA_VALIDATION_FAILED: {error}") from error


def _problems(machine: Any, where: str) -> Iterator[str]:
    """Missing targets, unreachable states and unknown types, which the interpreter finds only when it gets there."""
    if not isinstance(machine, dict) or not isinstance(machine.get("States"), dict) or not machine["States"]:
        yield f"States is missing or empty at /{where}"
        return
    states: dict[str, Any] = machine["States"]
    if machine.get("StartAt") not in states:
        yield f"MISSING_TRANSITION_TARGET: Missing 'StartAt' target: {machine.get('StartAt')} at /{where}StartAt"
    for name, state in states.items():
        path = f"{where}States/{name}"
        if len(name) > 80:
            yield f"the name of a state has at most 80 characters at /{path}"
        if state.get("Type") not in _STATE_TYPES:
            yield f"Type is {state.get('Type')!r}, allowed are {sorted(_STATE_TYPES)} at /{path}"
            continue
        yield from _transition_problems(state, states, path)
        for inner, inner_path in _inner_machines(state, path):
            yield from _problems(inner, inner_path)
    for name in sorted(set(states) - _reachable(machine)):
        yield f"MISSING_TRANSITION_TARGET: State \"{name}\" is not reachable at /{where}States/{name}"


def _transition_problems(state: dict[str, Any], states: dict[str, Any], path: str) -> Iterator[str]:
    for target in _targets(state):
        if target not in states:
            yield f"MISSING_TRANSITION_TARGET: Missing 'Next' target: {target} at /{path}"
    if state["Type"] in _TERMINAL or state["Type"] == "Choice":
        return
    if ("Next" in state) == bool(state.get("End")):
        yield f"exactly one of Next and End is needed at /{path}"


def _targets(state: dict[str, Any]) -> list[str]:
    found = [state.get("Next"), state.get("Default")]
    found += [catcher.get("Next") for catcher in state.get("Catch") or []]
    found += [choice.get("Next") for choice in state.get("Choices") or []]
    return [target for target in found if target is not None]


def _reachable(machine: dict[str, Any]) -> set[str]:
    seen: set[str] = set()
    waiting = [machine.get("StartAt")]
    while waiting:
        name = waiting.pop()
        if not isinstance(name, str) or name in seen or name not in machine["States"]:
            continue
        seen.add(name)
        waiting += _targets(machine["States"][name])
    return seen


def _inner_machines(state: dict[str, Any], path: str) -> Iterator[tuple[Any, str]]:
    for index, branch in enumerate(state.get("Branches") or []):
        yield branch, f"{path}/Branches[{index}]/"
    for field in ("ItemProcessor", "Iterator"):
        if field in state:
            yield state[field], f"{path}/{field}/"


def _understood(value: Any) -> Any:
    """Rewrite what moto's grammar does not know into what means the same to it."""
    if isinstance(value, list):
        return [_understood(item) for item in value]
    if not isinstance(value, dict):
        return value
    out = {}
    for key, item in value.items():
        if key == "ToleratedFailurePercentage" and isinstance(item, int):
            item = float(item)
        if key == "ProcessorConfig" and isinstance(item, dict) and item.get("ExecutionType") == "EXPRESS":
            item = {**item, "ExecutionType": "STANDARD"}
        if key.endswith(".$") and isinstance(item, str):
            item = re.sub(r"\s+$", "", item)
        out[key] = _understood(item)
    return out

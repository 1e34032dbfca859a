"""A pipeline's definition (JSON, version 2020-12-01) read and checked: parameters, steps and what waits for what."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from local.sagemaker.errors import invalid, not_supported

VERSION = "2020-12-01"
STEP_TYPES = ("Processing", "Training", "Transform", "Condition", "Fail", "Model", "RegisterModel", "Lambda")
_STEP_KEYS = {
    "Name", "DisplayName", "Description", "Type", "Arguments", "DependsOn", "PropertyFiles", "CacheConfig",
    "RetryPolicies", "FunctionArn", "OutputParameters",
}
_TYPES = {"String": str, "Integer": int, "Float": float, "Boolean": bool}
EXECUTION_FIELDS = (
    "PipelineExecutionId", "PipelineExecutionArn", "PipelineName", "PipelineArn", "StartDateTime", "CurrentDateTime",
)


@dataclass(frozen=True, kw_only=True)
class Step:
    name: str
    type: str
    arguments: dict[str, Any]
    raw: dict[str, Any]
    waits_for: frozenset[str]
    branch: tuple[str, bool] | None  # the condition step that decides, and the outcome that runs this step


@dataclass(frozen=True, kw_only=True)
class Definition:
    parameters: dict[str, dict[str, Any]]
    steps: dict[str, Step]

    def values(self, given: list[dict[str, str]]) -> dict[str, Any]:
        """Parameter values of one execution."""
        named = {p["Name"]: p["Value"] for p in given}
        unknown = set(named) - set(self.parameters)
        if unknown:
            raise invalid(
                f"Unknown pipeline parameter {', '.join(sorted(unknown))}; "
                f"the pipeline has {', '.join(sorted(self.parameters)) or 'none'}"
            )
        return {name: self._value(name, spec, named) for name, spec in self.parameters.items()}

    @staticmethod
    def _value(name: str, spec: dict[str, Any], named: dict[str, str]) -> Any:
        if name not in named:
            if "DefaultValue" not in spec:
                raise invalid(f"Pipeline parameter {name} has no default and no value was given")
            return spec["DefaultValue"]
        text = named[name]
        try:
            value = text.lower() == "true" if spec["Type"] == "Boolean" else _TYPES[spec["Type"]](text)
        except ValueError as error:
            raise invalid(f"Pipeline parameter {name} must be of type {spec['Type']}, got {text!r}") from error
        if "EnumValues" in spec and value not in spec["EnumValues"]:
            allowed = ", ".join(map(str, spec["EnumValues"]))
            raise invalid(f"Pipeline parameter {name} must be one of {allowed}, got {text!r}")
        return value


def parse(text: str) -> Definition:
    try:
        document = json.loads(text)
    except ValueError as error:
        raise invalid(f"PipelineDefinition is not valid JSON: {error}") from error
    if document.get("Version") != VERSION:
        raise invalid(f"PipelineDefinition must have Version {VERSION}, got {document.get('Version')!r}")
    unknown = set(document) - {"Version", "Metadata", "Parameters", "PipelineExperimentConfig", "Steps"}
    if unknown:
        raise not_supported(f"PipelineDefinition member {', '.join(sorted(unknown))}")
    parameters = {p["Name"]: p for p in document.get("Parameters", [])}
    for name, spec in parameters.items():
        if spec.get("Type") not in _TYPES:
            raise invalid(f"Parameter {name} must have a type of {', '.join(_TYPES)}, got {spec.get('Type')!r}")
    steps: dict[str, Step] = {}
    for raw, branch in _flat(document.get("Steps", []), None):
        step = _step(raw, branch)
        if step.name in steps:
            raise invalid(f"Step names must be unique, {step.name!r} appears twice")
        steps[step.name] = step
    if not steps:
        raise invalid("A pipeline must have at least one step")
    definition = Definition(parameters=parameters, steps=steps)
    _check_references(definition)
    _check_cycles(definition)
    return definition


def _flat(
    steps: list[dict[str, Any]], branch: tuple[str, bool] | None
) -> Iterator[tuple[dict[str, Any], tuple[str, bool] | None]]:
    for raw in steps:
        yield raw, branch
        if raw.get("Type") == "Condition":
            for key, outcome in (("IfSteps", True), ("ElseSteps", False)):
                yield from _flat(raw["Arguments"].get(key, []), (raw["Name"], outcome))


def _step(raw: dict[str, Any], branch: tuple[str, bool] | None) -> Step:
    name, kind = raw.get("Name", ""), raw.get("Type", "")
    if kind not in STEP_TYPES:
        raise not_supported(f"Step {name!r}: type {kind!r} (possible: {', '.join(STEP_TYPES)})")
    unknown = set(raw) - _STEP_KEYS
    if unknown:
        raise not_supported(f"Step {name!r}: member {', '.join(sorted(unknown))}")
    if raw.get("CacheConfig", {}).get("Enabled"):
        raise not_supported(f"Step {name!r}: CacheConfig")
    arguments = {k: v for k, v in raw.get("Arguments", {}).items() if k not in ("IfSteps", "ElseSteps")}
    waits = set(raw.get("DependsOn", []))
    waits |= {p.split(".")[1] for p in references(arguments) if p.startswith("Steps.")}
    if branch:
        waits.add(branch[0])
    return Step(name=name, type=kind, arguments=arguments, raw=raw, waits_for=frozenset(waits), branch=branch)


def references(value: Any) -> Iterator[str]:
    """Every path of a {"Get": path} below the value."""
    if isinstance(value, dict):
        if set(value) == {"Get"} and isinstance(value["Get"], str):
            yield value["Get"]
        for inner in value.values():
            yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


def _check_references(definition: Definition) -> None:
    for step in definition.steps.values():
        unknown = step.waits_for - set(definition.steps)
        if unknown:
            raise invalid(f"Step {step.name!r} refers to step {', '.join(sorted(unknown))}, which does not exist")
        for path in references(step.arguments):
            kind, _, rest = path.partition(".")
            if kind == "Parameters" and rest not in definition.parameters:
                raise invalid(f"Step {step.name!r} refers to parameter {rest!r}, which is not defined")
            if kind == "Execution" and rest not in EXECUTION_FIELDS:
                raise invalid(f"Step {step.name!r} refers to {path!r}; Execution has {', '.join(EXECUTION_FIELDS)}")
            if kind not in ("Parameters", "Execution", "Steps"):
                raise invalid(f"Step {step.name!r}: {path!r} must begin with Parameters, Execution or Steps")


def _check_cycles(definition: Definition) -> None:
    done: set[str] = set()
    while len(done) < len(definition.steps):
        ready = {n for n, s in definition.steps.items() if n not in done and s.waits_for <= done}
        if not ready:
            rest = ", ".join(sorted(set(definition.steps) - done))
            raise invalid(f"The steps {rest} wait for each other in a circle")
        done |= ready

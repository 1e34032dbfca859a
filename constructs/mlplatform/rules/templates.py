"""Synthesised templates as plain data: read once each, from the files that CDK wrote.

A rule never asks CDK's tree: each look at a construct is a call into another process, and a
deployment has thousands of properties. A reference is followed by its text: `<LogicalId.Arn>` or `<export's name>`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from contracts.deployments import Deployment
from contracts.story import StoryContract

_PSEUDO = re.compile(r"\$\{AWS::(Region|Partition|AccountId)\}")
_TOKEN = re.compile(r"<([^<>]+)>")


@dataclass(frozen=True, eq=False)
class Stack:
    """One template. `path` is the construct path of the stack."""

    path: str
    region: str
    file: Path

    @cached_property
    def raw(self) -> str:
        return self.file.read_text("utf-8")

    @cached_property
    def _template(self) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = json.loads(self.raw)
        return found

    @cached_property
    def resources(self) -> dict[str, Resource]:
        return {id_: Resource(id_, body["Type"], body.get("Properties", {}), body, self)
                for id_, body in self._template.get("Resources", {}).items()}

    @cached_property
    def exports(self) -> dict[str, Any]:
        outputs = self._template.get("Outputs", {}).values()
        return {self.text(o["Export"]["Name"]): o["Value"] for o in outputs if "Export" in o}

    @cached_property
    def paths(self) -> dict[str, str]:
        """Logical id -> construct path, which CDK writes beside the template."""
        beside = self.file.with_name(self.file.name.replace(".template.json", ".metadata.json"))
        entries: Mapping[str, Any] = json.loads(beside.read_text("utf-8"))
        return {e["data"]: path.removeprefix("/") for path, data in entries.items() for e in data
                if e["type"] == "aws:cdk:logicalId"}

    def text(self, value: Any) -> str:
        """A property as text; what is known only at deploy time stands in angle brackets."""
        if isinstance(value, str):
            return value
        if not isinstance(value, dict) or len(value) != 1:
            return json.dumps(value)
        ((function, given),) = value.items()
        if function == "Fn::Join":
            return str(given[0]).join(self.text(part) for part in given[1])
        if function == "Fn::Sub":
            template = given if isinstance(given, str) else given[0]
            return _PSEUDO.sub(lambda m: self._pseudo(f"AWS::{m.group(1)}"), template)
        if function == "Ref":
            return self._pseudo(given) if given.startswith("AWS::") else f"<{given}>"
        if function == "Fn::GetAtt":
            return f"<{given if isinstance(given, str) else '.'.join(given)}>"
        return f"<{self.text(given)}>" if function == "Fn::ImportValue" else f"<{function}>"

    def _pseudo(self, name: str) -> str:
        known = {"AWS::Region": self.region, "AWS::Partition": "aws", "AWS::AccountId": "<account>"}
        return known.get(name, f"<{name}>")


@dataclass(frozen=True, eq=False)
class Resource:
    logical_id: str
    type: str
    properties: Mapping[str, Any]
    body: Mapping[str, Any]  # with DeletionPolicy and the like
    stack: Stack

    @property
    def path(self) -> str:
        return self.stack.paths.get(self.logical_id, f"{self.stack.path}/{self.logical_id}")

    def get(self, where: str) -> Any:
        """The property at a dotted path, with numbers for places in a list; None when there is none."""
        return dig(self.properties, where)

    def text(self, where: str) -> str:
        value = self.get(where)
        return "" if value is None else self.stack.text(value)

    @cached_property
    def document(self) -> dict[str, Any]:
        """What the resource holds as JSON text: a state machine, a pipeline, a dashboard, a serving spec."""
        where = _DOCUMENTS[self.type]
        try:
            found: dict[str, Any] = json.loads(self.text(where))
        except json.JSONDecodeError as error:
            raise ValueError(f"{self.path} ({self.logical_id}): {where} must be a JSON text that rules can read, "
                             f"got {self.text(where)[:60]!r}") from error
        return found


_DOCUMENTS = {
    "AWS::StepFunctions::StateMachine": "DefinitionString",
    "AWS::SageMaker::Pipeline": "PipelineDefinition.PipelineDefinitionBody",
    "AWS::CloudWatch::Dashboard": "DashboardBody",
    "AWS::SSM::Parameter": "Value",
}


@dataclass(frozen=True, eq=False)
class Deployed:
    """The stacks of one deployment, and the stories that must be in it."""

    deployment: Deployment
    stacks: tuple[Stack, ...]
    stories: tuple[StoryContract, ...] = ()

    @cached_property
    def _by_type(self) -> dict[str, list[Resource]]:
        found: dict[str, list[Resource]] = {}
        for resource in self.resources():
            found.setdefault(resource.type, []).append(resource)
        return found

    @cached_property
    def _exports(self) -> dict[str, tuple[Stack, Any]]:
        return {name: (stack, value) for stack in self.stacks for name, value in stack.exports.items()}

    def resources(self) -> Iterator[Resource]:
        for stack in self.stacks:
            yield from stack.resources.values()

    def of_type(self, *types: str) -> list[Resource]:
        return [resource for type_ in types for resource in self._by_type.get(type_, [])]

    def named(self, type_: str, where: str, name: str) -> Resource | None:
        """The resource of a type whose property says `name`."""
        return next((r for r in self.of_type(type_) if r.text(where) == name), None)

    def target(self, stack: Stack, value: Any) -> Resource | None:
        """The resource that a reference (or its text) names, also through another stack's export."""
        token = _TOKEN.fullmatch(stack.text(value)) if value is not None else None
        if token is None:
            return None
        if token.group(1) in self._exports:
            return self.target(*self._exports[token.group(1)])
        return stack.resources.get(token.group(1).split(".")[0])


def dig(value: Any, where: str) -> Any:
    for step in where.split("."):
        if isinstance(value, list) and step.isdigit() and int(step) < len(value):
            value = value[int(step)]
        elif isinstance(value, Mapping) and step in value:
            value = value[step]
        else:
            return None
    return value


def strings(value: Any, where: str) -> Iterator[tuple[str, str]]:
    """(path, text) of every text below a value; a Fn::Join's parts one by one."""
    if isinstance(value, str):
        yield where, value
    elif isinstance(value, Mapping):
        for key, below in value.items():
            yield where, key
            yield from strings(below, f"{where}.{key}")
    elif isinstance(value, list):
        for i, below in enumerate(value):
            yield from strings(below, f"{where}.{i}")

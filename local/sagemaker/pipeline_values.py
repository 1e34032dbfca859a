"""The functions of a definition, evaluated: Get, Std:Join and Std:JsonGet."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from local.sagemaker.errors import JobFailure

_PART = re.compile(r"([^.\[\]]+)|\[(?:'([^']*)'|\"([^\"]*)\"|(\d+))\]")
_NAMES = ("OutputName", "InputName", "ChannelName", "Name", "MetricName")  # what ['x'] selects a list item by


@dataclass(kw_only=True)
class Values:
    """What references of one execution stand for."""

    parameters: dict[str, Any]
    execution: Callable[[], dict[str, Any]]
    read_file: Callable[[str], bytes]
    outputs: dict[str, dict[str, Any]] = field(default_factory=dict)  # by step: its Describe answer
    files: dict[str, dict[str, dict[str, str]]] = field(default_factory=dict)  # by step: its property files

    def resolve(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self.resolve(v) for v in value]
        if not isinstance(value, dict):
            return value
        if set(value) == {"Get"}:
            return self.get(value["Get"])
        if set(value) == {"Std:Join"}:
            parts = self.resolve(value["Std:Join"]["Values"])
            return value["Std:Join"]["On"].join(text(p) for p in parts)
        if set(value) == {"Std:JsonGet"}:
            return self._json_get(value["Std:JsonGet"])
        return {k: self.resolve(v) for k, v in value.items()}

    def get(self, path: str) -> Any:
        kind, _, rest = path.partition(".")
        if kind == "Parameters":
            return self.parameters[rest]
        if kind == "Execution":
            return self.execution()[rest]
        step, _, inner = rest.partition(".")
        return follow(self.outputs[step], inner, path)

    def _json_get(self, call: dict[str, Any]) -> Any:
        _, step, _, name = call["PropertyFile"]["Get"].split(".", 3)
        spec = self.files.get(step, {}).get(name)
        if spec is None:
            raise JobFailure(f"ClientError: step {step!r} has no property file {name!r}")
        outputs = self.outputs[step]["ProcessingOutputConfig"]["Outputs"]
        base = next((o["S3Output"]["S3Uri"] for o in outputs if o["OutputName"] == spec["OutputName"]), None)
        if base is None:
            raise JobFailure(f"ClientError: step {step!r} has no output {spec['OutputName']!r} for {name!r}")
        uri = f"{base.rstrip('/')}/{spec['FilePath']}"
        try:
            document = json.loads(self.read_file(uri))
        except ValueError as error:
            raise JobFailure(f"ClientError: property file {uri} is not JSON: {error}") from error
        return follow(document, self.resolve(call["Path"]), f"{uri} {call['Path']}")


def follow(value: Any, path: str, whole: str) -> Any:
    """`a.b[0].c` and `Outputs['train'].S3Output`; a part that is not there is a failure."""
    for match in _PART.finditer(path):
        key, index = match.group(1) or match.group(2) or match.group(3), match.group(4)
        try:
            if index is not None:
                value = value[int(index)]
            elif isinstance(value, list):
                value = next(i for i in value if key in [i.get(n) for n in _NAMES])
            else:
                value = value[key]
        except (KeyError, IndexError, StopIteration, TypeError) as error:
            raise JobFailure(f"ClientError: cannot resolve {whole}: there is no {key or index!r}") from error
    return value


def text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def coerce(value: Any, shape: Any) -> Any:
    """A pipeline's Integer may stand where the API wants text (hyperparameters), and the other way round."""
    if shape.type_name == "structure" and isinstance(value, dict):
        return {k: coerce(v, shape.members[k]) if k in shape.members else v for k, v in value.items()}
    if shape.type_name == "list" and isinstance(value, list):
        return [coerce(v, shape.member) for v in value]
    if shape.type_name == "map" and isinstance(value, dict):
        return {k: coerce(v, shape.value) for k, v in value.items()}
    if shape.type_name == "string" and isinstance(value, int | float | bool):
        return text(value)
    if shape.type_name in ("integer", "long") and isinstance(value, str) and value.lstrip("-").isdigit():
        return int(value)
    if shape.type_name in ("float", "double") and isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value  # the validation says what is wrong with it
    if shape.type_name == "boolean" and value in ("true", "True", "false", "False"):
        return value.lower() == "true"
    return value


def holds(condition: dict[str, Any], resolve: Callable[[Any], Any]) -> bool:
    """One condition of a Condition step."""
    kind = condition["Type"]
    if kind == "Not":
        return not holds(condition["Expression"], resolve)
    if kind == "Or":
        return any(holds(c, resolve) for c in condition["Conditions"])
    if kind == "In":
        return resolve(condition["QueryValue"]) in resolve(condition["Values"])
    left, right = resolve(condition["LeftValue"]), resolve(condition["RightValue"])
    tests: dict[str, Callable[[Any, Any], bool]] = {
        "Equals": lambda a, b: a == b, "GreaterThan": lambda a, b: a > b,
        "GreaterThanOrEqualTo": lambda a, b: a >= b, "LessThan": lambda a, b: a < b,
        "LessThanOrEqualTo": lambda a, b: a <= b,
    }
    if kind not in tests:
        raise JobFailure(f"ClientError: condition type {kind!r} is not supported; {', '.join(tests)}, In, Not, Or are")
    try:
        return tests[kind](left, right)
    except TypeError as error:
        raise JobFailure(f"ClientError: cannot compare {left!r} {kind} {right!r}") from error

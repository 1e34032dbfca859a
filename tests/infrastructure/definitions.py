"""State machines and pipelines as a template holds them, resolved into plain JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from tests.infrastructure.conftest import Assembly
from tests.infrastructure.snapshots import flat

_PLACEHOLDER = re.compile(r"\$\{(\w+)\}")


def machines(assembly: Assembly, deployment: str = "jp") -> dict[str, dict[str, Any]]:
    """Name -> definition, every substitution replaced by an ARN-like text."""
    found = {}
    for resource in assembly.resources("AWS::StepFunctions::StateMachine", deployment=deployment).values():
        properties = resource["Properties"]
        substitutions = properties["DefinitionSubstitutions"]
        text = properties["DefinitionString"]
        assert set(_PLACEHOLDER.findall(text)) == set(substitutions), "a substitution is missing or unused"
        resolved = _PLACEHOLDER.sub(lambda m: f"arn:aws:any:region:account:{m.group(1)}", text)
        found[properties["StateMachineName"]] = json.loads(resolved)
    # home expires label snapshots and joins on Spark, the others receive signed copies
    assert len(found) == (5 if deployment == "jp" else 4), deployment
    return found


def states(definition: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    yield from definition["States"].items()


def pipeline(assembly: Assembly, deployment: str = "jp") -> dict[str, Any]:
    """The pipeline definition, each reference replaced by its logical id."""
    resources = assembly.resources("AWS::SageMaker::Pipeline", deployment=deployment)
    (resource,) = resources.values()
    body = resource["Properties"]["PipelineDefinition"]["PipelineDefinitionBody"]
    parsed: dict[str, Any] = json.loads(flat(body))
    return parsed

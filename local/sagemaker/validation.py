"""Requests are checked against botocore's own service model, as AWS checks them.

botocore itself tests names, types and minimum sizes only; enums, patterns and maximum sizes are tested here,
in the words that AWS uses.
"""

from __future__ import annotations

import functools
import re
from typing import Any

import botocore.model
import botocore.session
import botocore.validate

from local.sagemaker.errors import ApiError, invalid, not_supported

_NUMBERS = ("integer", "long", "float", "double")


@functools.cache
def service_model(service: str) -> botocore.model.ServiceModel:
    return botocore.session.get_session().get_service_model(service)


def check(service: str, operation: str, request: dict[str, Any], supported: frozenset[str]) -> None:
    """Refuse what AWS would refuse, then what this service does not do.

    `supported` holds dotted member paths; a path stands for everything below it.
    """
    shape = service_model(service).operation_model(operation).input_shape
    report = botocore.validate.ParamValidator().validate(request, shape)
    if report.has_errors():
        raise invalid(f"{operation}: {report.generate_report()}")
    problems: list[str] = []
    _constraints(request, shape, "", problems)
    if problems:
        count = f"{len(problems)} validation error{'s' if len(problems) > 1 else ''} detected: "
        raise invalid(count + "; ".join(problems))
    refused = sorted(_outside(request, shape, "", supported))
    if refused:
        by = "SageMaker" if service.startswith("sagemaker") else service_model(service).service_id
        raise not_supported(f"{operation}: request member {', '.join(refused)}", by=str(by))


def _constraints(value: Any, shape: Any, path: str, problems: list[str]) -> None:
    if shape.type_name == "structure":
        for name, member in value.items():
            if name in shape.members:
                _constraints(member, shape.members[name], _join(path, name), problems)
        return
    if shape.type_name == "list":
        _size(len(value), shape, path, value, problems)
        for i, member in enumerate(value, 1):
            _constraints(member, shape.member, f"{path}.{i}.member", problems)
        return
    if shape.type_name == "map":
        _size(len(value), shape, path, value, problems)
        for member in value.values():
            _constraints(member, shape.value, f"{path}.value", problems)
        return
    _scalar(value, shape, path, problems)


def _scalar(value: Any, shape: Any, path: str, problems: list[str]) -> None:
    if shape.type_name == "string":
        _size(len(value), shape, path, value, problems)
        enum, pattern = getattr(shape, "enum", None), shape.metadata.get("pattern")
        if enum and value not in enum:
            _add(problems, value, path, f"enum value set: [{', '.join(enum)}]")
        if pattern and not _matches(pattern, value):
            _add(problems, value, path, f"regular expression pattern: {pattern}")
    elif shape.type_name in _NUMBERS and value > shape.metadata.get("max", value):
        problems.append(
            f"Value '{value}' at '{path}' failed to satisfy constraint: "
            f"Member must have value less than or equal to {shape.metadata['max']}"
        )


def _size(size: int, shape: Any, path: str, value: Any, problems: list[str]) -> None:
    if size > shape.metadata.get("max", size):
        problems.append(
            f"Value at '{path}' failed to satisfy constraint: "
            f"Member must have length less than or equal to {shape.metadata['max']}"
        )


def _add(problems: list[str], value: str, path: str, rule: str) -> None:
    problems.append(f"Value '{value}' at '{path}' failed to satisfy constraint: Member must satisfy {rule}")


@functools.cache
def _compiled(pattern: str) -> re.Pattern[str] | None:
    try:
        return re.compile(pattern)
    except re.error:  # a few of AWS's patterns use Java-only syntax
        return None


def _matches(pattern: str, value: str) -> bool:
    compiled = _compiled(pattern)
    return compiled is None or compiled.fullmatch(value) is not None


def _outside(value: Any, shape: Any, path: str, supported: frozenset[str]) -> set[str]:
    """Paths in the request that no supported path covers."""
    if path in supported:
        return set()
    below = path == "" or any(s.startswith(path + ".") for s in supported)
    if not below:
        return {path}
    if shape.type_name == "structure":
        parts = (_outside(v, shape.members[k], _join(path, k), supported) for k, v in value.items())
        return set().union(*parts)
    if shape.type_name == "list":
        return set().union(*(_outside(v, shape.member, path, supported) for v in value))
    return set()


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def one_of(value: str, allowed: tuple[str, ...], member: str, *, by: str = "SageMaker") -> None:
    """Refuse an enum value that AWS knows and this service does not."""
    if value not in allowed:
        raise ApiError(
            "ValidationException",
            f"{member} {value!r} is not supported by the embedded {by}; it supports {', '.join(allowed)}",
        )

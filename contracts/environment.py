"""Typed environment: one frozen class writes it in the construct and reads it in the Lambda."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from typing import Self, get_type_hints


@dataclass(frozen=True, kw_only=True)
class Environment:
    """Base of a function's environment. Fields are `str`, `int` or `float`: bool("false") is True."""

    def to_environ(self) -> dict[str, str]:
        return {name: str(value) for name, value in asdict(self).items()}

    @classmethod
    def from_environ(cls, environ: Mapping[str, str] | None = None) -> Self:
        """Parse; one ValueError names everything that is missing or of the wrong type."""
        source = os.environ if environ is None else environ
        hints = get_type_hints(cls)
        values: dict[str, str | int | float] = {}
        problems: list[str] = []
        for field in fields(cls):
            raw = source.get(field.name)
            if not raw:
                if field.default is MISSING:
                    problems.append(f"{field.name} is missing")
                continue
            try:
                values[field.name] = hints[field.name](raw)
            except ValueError:
                problems.append(f"{field.name} must be {hints[field.name].__name__}")
        if problems:
            raise ValueError(f"{cls.__name__}: {'; '.join(problems)}. Set them in the function's construct.")
        return cls(**values)

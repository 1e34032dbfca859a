"""The subset of Dockerfile that the embedded build understands, parsed into plain instructions.

FROM ARG ENV WORKDIR COPY LABEL ENTRYPOINT CMD EXPOSE USER RUN. Anything else is refused by name.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from local.sagemaker.errors import JobFailure

KNOWN = frozenset(["FROM", "ARG", "ENV", "WORKDIR", "COPY", "LABEL", "ENTRYPOINT", "CMD", "EXPOSE", "USER", "RUN"])
_VARIABLE = re.compile(r"\\\$|\$\{(\w+)(?::([-+])([^}]*))?\}|\$(\w+)")


@dataclass(frozen=True, kw_only=True)
class Instruction:
    line: int
    name: str
    text: str

    def words(self) -> list[str]:
        """The arguments of the JSON form, or of the shell form split on blanks."""
        return self.json_form() or shlex.split(self.text)

    def json_form(self) -> list[str] | None:
        if not self.text.startswith("["):
            return None
        try:
            words = json.loads(self.text)
        except ValueError as error:
            raise JobFailure(f"Dockerfile line {self.line}: {self.name} is not valid JSON: {error}") from error
        return [str(w) for w in words]

    def command(self) -> list[str]:
        """ENTRYPOINT and CMD: the shell form runs through a shell, as Docker runs it."""
        return self.json_form() or ["/bin/sh", "-c", self.text]


def parse(text: str) -> list[Instruction]:
    found: list[Instruction] = []
    buffer, first = "", 0
    for number, raw in enumerate(text.splitlines(), 1):
        if raw.lstrip().startswith("#") or (not raw.strip() and not buffer):
            continue
        first = first or number
        if raw.rstrip().endswith("\\"):
            buffer += raw.rstrip()[:-1] + " "
            continue
        found.append(_instruction((buffer + raw).strip(), first))
        buffer, first = "", 0
    if buffer.strip():
        found.append(_instruction(buffer.strip(), first))
    if not any(i.name == "FROM" for i in found):
        raise JobFailure("the Dockerfile has no FROM instruction")
    return found


def _instruction(text: str, line: int) -> Instruction:
    name, _, rest = text.partition(" ")
    name = name.upper()
    if name not in KNOWN:
        raise JobFailure(
            f"Dockerfile line {line}: {name} is not supported by the embedded build; "
            f"it supports {', '.join(sorted(KNOWN))}"
        )
    if "<<" in rest and name in ("COPY", "RUN"):
        raise JobFailure(f"Dockerfile line {line}: here-documents are not supported by the embedded build")
    return Instruction(line=line, name=name, text=rest.strip())


def substitute(text: str, variables: Mapping[str, str]) -> str:
    """$NAME, ${NAME}, ${NAME:-default} and ${NAME:+other}, as Docker expands them."""

    def value(match: re.Match[str]) -> str:
        if match.group(0) == "\\$":
            return "$"
        found = variables.get(match.group(1) or match.group(4), "")
        operator, other = match.group(2), match.group(3) or ""
        if operator == "-":
            return found or other
        return (other if found else "") if operator == "+" else found

    return _VARIABLE.sub(value, text)


def pairs(instruction: Instruction) -> dict[str, str]:
    """ENV and LABEL: `KEY=value KEY="a b"` or the old form `KEY value`."""
    words = shlex.split(instruction.text)
    if words and "=" not in words[0]:
        return {words[0]: instruction.text[len(words[0]) :].strip()}
    return dict(word.split("=", 1) for word in words)

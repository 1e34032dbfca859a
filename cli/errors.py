"""What an operator did that can't be done, in one sentence with what is allowed; printed without a trace."""

from __future__ import annotations


class CliError(Exception):
    """Ends the command with exit code 1."""


def one_of(kind: str, given: str, allowed: list[str] | tuple[str, ...]) -> CliError:
    return CliError(f"unknown {kind} {given!r}: allowed are {', '.join(allowed)}")

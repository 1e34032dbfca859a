"""What a rule is, what it finds, and how a finding is acknowledged: plain data, no CDK."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase

from mlplatform.rules.templates import Deployed, Resource, Stack


@dataclass(frozen=True, kw_only=True)
class Finding:
    """`what` is wrong at the property `where` of a resource; of a whole stack when something is missing in it."""

    on: Resource | Stack
    where: str
    what: str

    @property
    def path(self) -> str:
        return self.on.path

    @property
    def logical_id(self) -> str:
        return self.on.logical_id if isinstance(self.on, Resource) else ""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """`why` it stands and how to `mend` a violation; `find` looks through one deployment."""

    id: str
    concern: str
    why: str
    mend: str
    find: Callable[[Deployed], Iterator[Finding]]

    def says(self, finding: Finding) -> str:
        """Which rule, which resource, why: all that a reader of a failed synth needs, but for `mend`."""
        named = f" ({finding.logical_id})" if finding.logical_id else ""
        return f"{self.id} at {finding.path}{named}, {finding.where}: {finding.what}. Why: {self.why}"


def rule(id_: str, *, concern: str, why: str, mend: str) -> Callable[[Callable[[Deployed], Iterator[Finding]]], Rule]:
    """Makes a rule of the function that looks for its violations."""
    return lambda find: Rule(id=id_, concern=concern, why=why, mend=mend, find=find)


@dataclass(frozen=True, kw_only=True)
class Acknowledged:
    """`finding` at each construct of `at` (paths or patterns, below the stage) stays, `because`."""

    finding: str
    at: tuple[str, ...]
    because: str

    def covers(self, finding: str, path: str) -> bool:
        return finding == self.finding and any(fnmatchcase(path, pattern) for pattern in self.at)

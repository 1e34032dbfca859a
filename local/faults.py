"""Faults on purpose: what the next calls of a service meet.

| kind | the call | the caller |
|---|---|---|
| throttle, error, deny | does not happen | gets 400, 500 or 403 |
| delay | happens after `seconds` | waits |
| lose_answer | happens | gets 500 |
| twice | happens twice at the same time | gets the better answer |
| timeout | does not happen; an invoked function waits in vain for its first AWS call | gets 504 after `seconds` |
| kill | happens | is a Lambda worker: is killed before it hears of it; else the running jobs' processes are |
| roll_back | UpdateEndpoint or CreateEndpoint happens, its fleet never serves | gets the usual answer |

One kind is about no call: `starve` on the service `container` leaves the next containers that serve a model too
little CPU, so that each answer takes `seconds` longer or more. It lasts as long as the container.
"""

from __future__ import annotations

import itertools
import threading
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

KINDS = (
    "throttle", "error", "deny", "lose_answer", "delay", "twice", "timeout", "kill", "roll_back", "starve",
)
CONTAINER = "container"
_FIELDS = {"service", "operation", "kind", "times", "role", "seconds", "state"}


@dataclass(frozen=True, kw_only=True)
class Call:
    """One AWS call as it arrived. `role` is the caller's role name and session, `root` for the deployer.

    `states`: MACHINE/STATE of every execution that is in a task at this moment.
    """

    service: str
    operation: str
    resource: str
    role: str
    states: tuple[str, ...] = ()


@dataclass(kw_only=True)
class Fault:
    fault_id: str
    service: str
    operation: str = "*"  # may hold wildcards
    kind: str = "error"
    times: int | None = None  # None: until cleared
    role: str | None = None  # a part of the role's name
    seconds: float = 0.0
    state: str | None = None  # MACHINE/STATE: only while an execution is in it
    used: int = 0

    def hits(self, call: Call) -> bool:
        return (self.service == call.service and fnmatchcase(call.operation, self.operation)
                and (self.role is None or self.role in call.role) and self.times != 0
                and (self.state is None or self.state in call.states))


class Faults:
    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()

    def add(self, wanted: dict[str, Any]) -> Fault:
        unknown = sorted(set(wanted) - _FIELDS)
        if unknown:
            raise ValueError(f"unknown field {unknown[0]!r}, allowed are {sorted(_FIELDS)}")
        if not wanted.get("service"):
            raise ValueError("service is missing: the name in the signature, such as ssm, sagemaker, states")
        if wanted.get("kind", "error") not in KINDS:
            raise ValueError(f"kind is {wanted['kind']!r}, allowed are {list(KINDS)}")
        if (wanted.get("kind") == "starve") != (wanted["service"] == CONTAINER):
            raise ValueError(f"kind starve goes with service {CONTAINER} and no other, got kind "
                             f"{wanted.get('kind', 'error')!r} for service {wanted['service']!r}")
        if wanted.get("times") is not None and int(wanted["times"]) < 1:
            raise ValueError(f"times must be 1 or more, or null for always, got {wanted['times']}")
        fault = Fault(fault_id=f"fault-{next(self._numbers)}", **wanted)
        with self._lock:
            self._faults.append(fault)
        return fault

    def listed(self) -> list[dict[str, Any]]:
        with self._lock:
            return [dict(vars(fault)) for fault in self._faults]

    def clear(self) -> int:
        with self._lock:
            count = len(self._faults)
            self._faults.clear()
        return count

    def take(self, call: Call) -> Fault | None:
        """The first fault that hits the call; it is counted as used."""
        with self._lock:
            for fault in self._faults:
                if fault.hits(call):
                    fault.used += 1
                    if fault.times is not None:
                        fault.times -= 1
                    return fault
        return None


FAULTS = Faults()  # of this server

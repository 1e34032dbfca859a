"""Faults on purpose: the next calls of a service fail, are denied, are slow or lose their answer.

One kind is about no call: `starve` on the service `container` leaves the next containers that serve a model too
little CPU, so that each answer takes `seconds` longer or more. It lasts as long as the container.
"""

from __future__ import annotations

import itertools
import threading
from dataclasses import dataclass
from typing import Any

KINDS = ("throttle", "error", "deny", "lose_answer", "delay", "starve")
CONTAINER = "container"
_FIELDS = {"service", "operation", "kind", "times", "role", "seconds"}


@dataclass(frozen=True, kw_only=True)
class Call:
    """One AWS call as it arrived. `role` is the caller's role name, `root` for the deployer."""

    service: str
    operation: str
    resource: str
    role: str


@dataclass(kw_only=True)
class Fault:
    fault_id: str
    service: str
    operation: str = "*"
    kind: str = "error"
    times: int | None = None  # None: until cleared
    role: str | None = None  # a part of the role's name
    seconds: float = 0.0

    def hits(self, call: Call) -> bool:
        return (self.service == call.service and self.operation in ("*", call.operation)
                and (self.role is None or self.role in call.role) and self.times != 0)


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
                    if fault.times is not None:
                        fault.times -= 1
                    return fault
        return None


FAULTS = Faults()  # of this server

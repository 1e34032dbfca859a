"""Start a state machine, watch it pass through its states, tell its outcome."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError

from cli.target import Target
from contracts import events, naming

# Where a run's output says why it ended so.
_SAYS_WHY = {
    events.REJECTED: ("verdict", "reasons"), events.REJECTED_LABELS: ("freeze", "answer"),
    events.NOT_PROMOTED: ("switches", "reasons"), events.SKIPPED_FROZEN: ("switches", "reasons"),
    events.SKIPPED_LEASED: ("lease", "holder"),
    events.SHADOW_WORSE: ("worse", "said"), events.CANARY_ABORTED: ("worse", "said"),
    events.REFUSED: ("error", "said", "errorMessage"),
}
POLL_S = 0.5  # of the watcher only; the embedded AWS scales the machine's own waits


@dataclass(frozen=True, kw_only=True)
class Finished:
    """One ended execution. `outcome` is the name of its end state (contracts.events.OUTCOMES)."""

    arn: str
    name: str
    status: str
    outcome: str
    seconds: float
    states: tuple[str, ...]
    output: dict[str, Any]
    error: str = ""

    @property
    def why(self) -> str:
        """What the run says of its end, on one line: failed gates, a switch, an error. Empty when all went well."""
        said: Any = self.output if self.outcome in _SAYS_WHY else ""
        for field in _SAYS_WHY.get(self.outcome, ()):
            said = (said or {}).get(field)
        if isinstance(said, dict):
            said = [f"{name} {value}" for name, value in said.items()]
        return self.error or ("; ".join(said) if isinstance(said, list) else str(said or ""))


def new_name(mode: str) -> str:
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    return naming.execution_name(mode, f"{stamp}-{secrets.token_hex(3)}")


def start_retrain(
    target: Target,
    slug: str,
    *,
    mode: str = "retrain",
    trigger: str = "manual",
    reason: str = "",
    hyperparameters: dict[str, str] | None = None,
    name: str | None = None,
) -> str:
    """ARN of the started execution. The same name and input again is the same execution."""
    body: dict[str, Any] = {"mode": mode, "trigger": trigger, "reason": reason}
    if hyperparameters:
        body["hyperparameters"] = hyperparameters
    return start(target, naming.retrain_state_machine(slug), body, name=name or new_name(mode))


def start_receive(target: Target, slug: str, *, reason: str = "") -> str:
    """ARN of an execution that receives what home serves; outside home only."""
    body = {"trigger": "manual", "reason": reason}
    return start(target, naming.receive_state_machine(slug), body, name=new_name("receive"))


def start(target: Target, machine: str, body: dict[str, Any], *, name: str) -> str:
    answer = target.client("stepfunctions").start_execution(
        stateMachineArn=target.state_machine_arn(machine),
        name=name,
        input=json.dumps(body),
    )
    return str(answer["executionArn"])


def start_once(target: Target, machine: str, body: dict[str, Any], *, name: str) -> str:
    """The same, and ARN of the execution of that name when it has ended already."""
    try:
        return start(target, machine, body, name=name)
    except ClientError as error:
        if error.response["Error"]["Code"] != "ExecutionAlreadyExists":
            raise
        return f"{target.state_machine_arn(machine).replace(':stateMachine:', ':execution:')}:{name}"


def started_with(target: Target, machine: str, body: dict[str, Any], *, timeout_s: float = 60.0) -> str:
    """ARN of the newest execution that somebody else, an event for example, starts with this input."""
    sfn, arn = target.client("stepfunctions"), target.state_machine_arn(machine)
    deadline = time.monotonic() + timeout_s
    while True:
        for found in sfn.list_executions(stateMachineArn=arn, maxResults=50)["executions"]:
            described = sfn.describe_execution(executionArn=found["executionArn"])
            if json.loads(described.get("input") or "{}") == body:
                return str(found["executionArn"])
        if time.monotonic() > deadline:
            raise TimeoutError(f"nothing started {machine} with {json.dumps(body)} within {timeout_s:.0f} s")
        time.sleep(POLL_S)


def states_entered(target: Target, arn: str, *, after: int = 0) -> tuple[tuple[str, ...], int]:
    """(names of the states entered, in order; the last event's id), from the event after `after` on.

    Newest first, because a watcher has seen all but the last few of what may be thousands.
    """
    sfn = target.client("stepfunctions")
    found: list[str] = []
    last, token = after, ""
    while True:
        page = sfn.get_execution_history(
            executionArn=arn, reverseOrder=True, maxResults=100, **({"nextToken": token} if token else {})
        )
        new = [event for event in page["events"] if event["id"] > after]
        last = max([last, *(event["id"] for event in new)])
        found += [e["stateEnteredEventDetails"]["name"] for e in new if "stateEnteredEventDetails" in e]
        token = page.get("nextToken", "")
        if not token or len(new) < len(page["events"]):
            return tuple(reversed(found)), last


def watch(target: Target, arn: str, *, timeout_s: float) -> Iterator[str]:
    """Each state as it is entered, until the execution ends."""
    sfn = target.client("stepfunctions")
    last, state = 0, "(none)"
    deadline = time.monotonic() + timeout_s
    while True:
        status = sfn.describe_execution(executionArn=arn)["status"]
        states, last = states_entered(target, arn, after=last)
        for state in states:
            yield state
        if status != "RUNNING":
            return
        if time.monotonic() > deadline:
            raise TimeoutError(f"{arn.rsplit(':', 1)[-1]} still runs after {timeout_s:.0f} s in state {state}")
        time.sleep(POLL_S)


def outcome(status: str, states: tuple[str, ...]) -> str:
    """The name of the end state: every end of our machines has one of its own."""
    if status != "SUCCEEDED":
        return events.FAILED if status != "RUNNING" else status
    return states[-1] if states else status


def finished(target: Target, arn: str) -> Finished:
    """What became of an ended execution."""
    described = target.client("stepfunctions").describe_execution(executionArn=arn)
    states, _ = states_entered(target, arn)
    seconds = (described.get("stopDate", datetime.now(UTC)) - described["startDate"]).total_seconds()
    return Finished(
        arn=arn,
        name=described["name"],
        status=described["status"],
        outcome=outcome(described["status"], states),
        seconds=round(seconds, 2),
        states=states,
        output=json.loads(described.get("output") or "{}"),
        error=": ".join(filter(None, (described.get("error"), described.get("cause")))),
    )


def wait(
    target: Target,
    arn: str,
    *,
    timeout_s: float = 3600,
    on_state: Callable[[str], None] = lambda state: None,
) -> Finished:
    for state in watch(target, arn, timeout_s=timeout_s):
        on_state(state)
    return finished(target, arn)


def recent(target: Target, slug: str, limit: int = 10) -> list[dict[str, Any]]:
    """The last executions of a story's retrain machine, newest first."""
    answer = target.client("stepfunctions").list_executions(
        stateMachineArn=target.state_machine_arn(naming.retrain_state_machine(slug)),
        maxResults=limit,
    )
    return sorted(answer["executions"], key=lambda e: e["startDate"], reverse=True)[:limit]

"""Kill switches: read them, write them with a reason, leave an audit record.

The SSM write comes first: in an incident the freeze must hold even when the audit trail can't be reached.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from cli.errors import CliError, one_of
from cli.executions import new_name
from cli.target import Target
from contracts import naming
from contracts.kill_switches import GLOBAL_FREEZE, Flag
from contracts.stories import CONTRACTS

PLATFORM = "platform"  # the audit trail's name for what concerns every story


@dataclass(frozen=True, kw_only=True)
class FlagChange:
    flag: str
    before: str
    after: str
    audit_id: str  # empty when nothing changed

    @property
    def changed(self) -> bool:
        return self.before != self.after


def all_flags() -> tuple[Flag, ...]:
    return (GLOBAL_FREEZE, *(flag for contract in CONTRACTS.values() for flag in contract.flags))


def read(target: Target) -> dict[str, str]:
    """Flag name -> stored text; a flag that is not there is absent."""
    names = {flag.parameter: flag.name for flag in all_flags()}
    answer = target.client("ssm").get_parameters(Names=list(names))
    return {names[p["Name"]]: p["Value"] for p in answer["Parameters"]}


def write(target: Target, flag: str, value: bool, *, story: str, reason: str) -> FlagChange:
    """Set a flag and record who asked why. Setting what is already set changes and records nothing."""
    known = [f.name for f in all_flags()]
    if flag not in known:
        raise one_of("flag", flag, known)
    if not reason.strip():
        raise CliError("a reason is needed: --reason 'what happened, which incident'")
    before = read(target).get(flag, "(absent)")
    after = "true" if value else "false"
    if before == after:
        return FlagChange(flag=flag, before=before, after=after, audit_id="")
    target.client("ssm").put_parameter(Name=naming.flag_parameter(flag), Value=after, Type="String", Overwrite=True)
    run_id = new_name("operator")
    audit(target, story=story, outcome=f"{flag}={after}", run_id=run_id, detail={
        "flag": flag, "before": before, "after": after, "reason": reason,
        "by": target.client("sts").get_caller_identity()["Arn"],
    })
    return FlagChange(flag=flag, before=before, after=after, audit_id=run_id)


def audit(target: Target, *, story: str, outcome: str, run_id: str, detail: dict[str, str]) -> None:
    """Append one audit record through the function that owns the table."""
    answer = target.client("lambda").invoke(
        FunctionName=naming.function(PLATFORM, "audit"),
        Payload=json.dumps({"story": story, "outcome": outcome, "run_id": run_id, "detail": detail}).encode(),
    )
    if "FunctionError" in answer:
        body = json.loads(answer["Payload"].read() or b"{}")
        raise CliError(f"{outcome} is set, but the audit record {run_id} was refused: "
                       f"{body.get('errorMessage', 'no message')}. Write it by hand into the incident's log.")

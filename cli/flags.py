"""Kill switches: read them, write them with a reason, leave an audit record.

The SSM write comes first: in an incident the freeze must hold even when the audit trail can't be reached.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime

from botocore.exceptions import ClientError

from cli.errors import CliError, one_of
from cli.executions import new_name
from cli.target import Target, explain
from contracts import audit_table, naming, records
from contracts.kill_switches import GLOBAL_FREEZE, Flag
from contracts.stories import CONTRACTS


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
    target.client("ssm").put_parameter(
        Name=naming.flag_parameter(flag), Value=after, Type="String", Overwrite=True
    )
    run_id = new_name("operator")
    audit(
        target,
        story=story,
        what=f"{flag}={after}",
        run_id=run_id,
        detail={
            "flag": flag,
            "before": before,
            "after": after,
            "reason": reason,
            "by": target.client("sts").get_caller_identity()["Arn"],
        },
    )
    return FlagChange(flag=flag, before=before, after=after, audit_id=run_id)


def audit(target: Target, *, story: str, what: str, run_id: str, detail: dict[str, str]) -> None:
    """Append one record to its story's audit chain; the table's policy lets nobody change it afterwards."""
    record = {
        records.AUDIT_PARTITION_KEY: story,
        records.AUDIT_SORT_KEY: records.audit_id(run_id, what),
        "run_id": run_id,
        "what": what,
        "at": datetime.now(UTC).isoformat(),
        "detail": json.dumps(detail, sort_keys=True, ensure_ascii=False),
    }
    try:
        _append(target, record)
    except ClientError as error:
        raise CliError(
            f"{what} is set, but its audit record {run_id} was refused: {explain(error, target)} "
            "Write it by hand into the incident's log."
        ) from error


def _append(target: Target, record: dict[str, str]) -> None:
    """Behind the chain's head; when another record took that place, behind the next one."""
    dynamodb, table = target.client("dynamodb"), naming.audit_table(target.deployment.name)
    chain = record[records.AUDIT_PARTITION_KEY]
    for attempt in range(audit_table.APPEND_ATTEMPTS):
        head = audit_table.head_of(dynamodb.query(**audit_table.head_query(table, chain)), chain)
        try:
            dynamodb.transact_write_items(TransactItems=audit_table.puts(table, record, head))
            return
        except dynamodb.exceptions.TransactionCanceledException:
            # The record's own id is new each time, so only its place in the chain can have been taken.
            if attempt + 1 == audit_table.APPEND_ATTEMPTS:
                raise

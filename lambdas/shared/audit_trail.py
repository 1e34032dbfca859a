"""Append one record to a story's audit chain: once, and at its end, however many write at the same time."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from typing import Any

from contracts import audit_table
from contracts.audit_chain import Head
from contracts.records import AUDIT_PARTITION_KEY
from lambdas.shared.aws import client_error, error_code
from lambdas.shared.errors import AuditChainBusy

_PAUSE_S = 0.05


def read_head(dynamodb: Any, table: str, chain: str) -> Head:
    return audit_table.head_of(dynamodb.query(**audit_table.head_query(table, chain)), chain)


def append(dynamodb: Any, table: str, record: Mapping[str, str]) -> bool:
    """True when this call wrote the record, False when it was there already.

    Raises AuditChainBusy when others took every number that we tried: the step is tried again.
    """
    chain = record[AUDIT_PARTITION_KEY]
    for attempt in range(audit_table.APPEND_ATTEMPTS):
        puts = audit_table.puts(table, record, read_head(dynamodb, table, chain))
        try:
            dynamodb.transact_write_items(TransactItems=puts)
        except client_error() as error:
            if error_code(error) != "TransactionCanceledException":
                raise
            if cancelled_by(error)[0] == audit_table.CONDITION_FAILED:
                return False
            pause(attempt)
            continue
        return True
    raise AuditChainBusy(f"the audit chain of {chain} grew {audit_table.APPEND_ATTEMPTS} times while "
                         "one record was to be appended")


def cancelled_by(error: Any) -> list[str]:
    """The code of each entry of a cancelled transaction, in order; `None` for one that was well."""
    return [str(reason.get("Code")) for reason in error.response["CancellationReasons"]]


def pause(attempt: int) -> None:
    """Writers that met once would meet again without jitter."""
    time.sleep(random.uniform(0, _PAUSE_S * (attempt + 1)))

"""The audit table's requests as plain data, for every writer and for the verifier.

A record lies at (its story, run_id#what): the same event told twice is one record. Its link lies at
(`chain:STORY`, sequence number), written in the same transaction and only where nothing is yet: of two
writers that saw the same head, one takes the number and the other looks again. A chain can't fork.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from contracts.audit_chain import SEQUENCE_DIGITS, Head, Link, seal
from contracts.records import AUDIT_PARTITION_KEY, AUDIT_SORT_KEY

APPEND_ATTEMPTS = 8
# Of a cancelled transaction: which of our two puts failed its condition.
CONDITION_FAILED = "ConditionalCheckFailed"

Item = dict[str, dict[str, str]]


def chain_partition(chain: str) -> str:
    return f"chain:{chain}"


def text_item(values: Mapping[str, str]) -> Item:
    """Audit records and links hold nothing but text."""
    return {name: {"S": value} for name, value in values.items()}


def text_values(item: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    return {name: value["S"] for name, value in item.items()}


def _put_once(table: str, item: Item) -> dict[str, Any]:
    return {"Put": {"TableName": table, "Item": item,
                    "ConditionExpression": f"attribute_not_exists({AUDIT_SORT_KEY})"}}


def puts(table: str, record: Mapping[str, str], after: Head) -> list[dict[str, Any]]:
    """The two TransactWriteItems entries of one record: itself, then its link behind `after`."""
    link = seal(record, after)
    number = f"{link.sequence:0{SEQUENCE_DIGITS}}"
    return [
        _put_once(table, text_item(record)),
        _put_once(table, text_item({
            AUDIT_PARTITION_KEY: chain_partition(link.chain), AUDIT_SORT_KEY: number,
            "of": record[AUDIT_SORT_KEY], "previous": link.previous, "hash": link.hash})),
    ]


def head_query(table: str, chain: str) -> dict[str, Any]:
    """Query for the newest link; strongly consistent, or a writer would look at an old head for ever."""
    return {**partition_query(table, chain_partition(chain)), "ScanIndexForward": False, "Limit": 1}


def partition_query(table: str, partition: str) -> dict[str, Any]:
    return {"TableName": table, "ConsistentRead": True, "KeyConditionExpression": "#partition = :partition",
            "ExpressionAttributeNames": {"#partition": AUDIT_PARTITION_KEY},
            "ExpressionAttributeValues": {":partition": {"S": partition}}}


def head_of(answer: Mapping[str, Any], chain: str) -> Head:
    items = answer["Items"]
    return parse_link(items[0], chain)[0].head if items else Head.of_empty(chain)


def parse_link(item: Mapping[str, Any], chain: str) -> tuple[Link, str]:
    """(the link, the id of its record)."""
    values = text_values(item)
    link = Link(chain=chain, sequence=int(values[AUDIT_SORT_KEY]), previous=values["previous"], hash=values["hash"])
    return link, values["of"]

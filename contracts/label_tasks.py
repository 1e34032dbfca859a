"""What is sent out to be labelled (a task) and what comes back (deliveries): one shape for all four sources.

A task is written once, by whoever sends it out: `tasks/STORY/TASK/task.json`. A delivery is one answer to it, below
`inbox/STORY/TASK/`. Texts are in the task only: a delivery names items and labels, never customer text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from contracts.datasets import SOURCES, LabelFileError, taxonomy_from_dict
from contracts.taxonomies import TAXONOMIES, Taxonomy

# A task and a delivery are parts of job names (63 characters) and of S3 keys.
_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
MAX_NAME = 24
DELIVERED = {"vendor": "votes", "implicit": "feedback", "programmatic": "functions", "llm_distilled": "labels"}


class TaskError(LabelFileError):
    """The task can't be used as a whole; the message names the field and what is allowed."""


@dataclass(frozen=True, kw_only=True)
class Item:
    """One text that was sent out, with what the label row keeps of it. `text` is redacted."""

    id: str
    text: str
    language: str
    cohort: str | None = None
    daypart: str | None = None
    group_id: str | None = None


@dataclass(frozen=True, kw_only=True)
class LabelTask:
    """`by`: who is asked (vendors, a model, labelling functions). It is settled when all of them have delivered.

    Only `adjudicators` may rule: a ruling stands above every other vote.
    """

    name: str
    source: str
    why: str
    by: tuple[str, ...]
    adjudicators: tuple[str, ...]
    taxonomy: Taxonomy
    items: tuple[Item, ...]


def check_name(name: object, what: str) -> str:
    """TaskError unless it is lower-case words joined by `-`."""
    if not (isinstance(name, str) and len(name) <= MAX_NAME and _NAME.fullmatch(name)):
        raise TaskError(f"{what} must be lower-case words and digits joined by '-', at most {MAX_NAME} characters")
    return name


def parse_task(raw: object) -> LabelTask:
    """{"name", "source", "why", "by", "adjudicators"?, "taxonomy": a known name or a label set, "items"}."""
    if not isinstance(raw, Mapping):
        raise TaskError("a task is one JSON object")
    name, source, why, by = check_name(raw.get("name"), "name"), raw.get("source"), raw.get("why"), raw.get("by")
    if source not in SOURCES:
        raise TaskError(f"source must be one of {', '.join(SOURCES)}")
    if not (isinstance(why, str) and why.strip()):
        raise TaskError("why must be a non-empty text: it is kept beside every label that the task changes")
    if not (isinstance(by, list) and by) or len(set(map(str, by))) != len(by):
        raise TaskError("by must name whoever is asked, each once")
    rulers = raw.get("adjudicators", [])
    if not isinstance(rulers, list) or not all(one in by for one in rulers):
        raise TaskError("adjudicators must be a list of some of those in by")
    found = raw.get("items")
    if not (isinstance(found, list) and found):
        raise TaskError("items must be a list with at least one {id, text, language}")
    items = tuple(_item(n, item) for n, item in enumerate(found, start=1))
    if len({item.id for item in items}) != len(items):
        raise TaskError("items: an id may be used once")
    return LabelTask(name=name, source=source, why=why, by=tuple(check_name(one, "by") for one in by),
                     adjudicators=tuple(rulers), taxonomy=_taxonomy(raw.get("taxonomy")), items=items)


def _item(number: int, raw: object) -> Item:
    fields = Item.__dataclass_fields__
    if not isinstance(raw, Mapping) or not all(isinstance(raw.get(name), str) for name in ("id", "text", "language")):
        raise TaskError(f"items, entry {number}: needed are the texts id, text and language")
    if unknown := sorted(set(raw) - set(fields)):
        raise TaskError(f"items, entry {number}: unknown field {unknown[0]}; allowed are {', '.join(fields)}")
    return Item(**raw)


def _taxonomy(raw: object) -> Taxonomy:
    if isinstance(raw, str):
        if raw not in TAXONOMIES:
            raise TaskError(f"taxonomy must be one of {', '.join(TAXONOMIES)}, or a label set of its own")
        return TAXONOMIES[raw]
    if not isinstance(raw, Mapping):
        raise TaskError("taxonomy must be a known name or a label set")
    return taxonomy_from_dict(raw)


def parse_delivery(raw: object, source: str) -> tuple[str, list[Any], Mapping[str, Any]]:
    """(who delivers, its rows as they came, everything else); rows are checked one by one, later.

    {"by": ..., "votes" | "feedback" | "functions" | "labels": [...]}; a model's has "audited": {item: label}, too.
    """
    field = DELIVERED[source]
    if not isinstance(raw, Mapping) or not isinstance(raw.get(field), list) or not raw[field]:
        raise TaskError(f"a delivery of the source {source} is an object with by and a list {field}")
    return check_name(raw.get("by"), "by"), list(raw[field]), raw

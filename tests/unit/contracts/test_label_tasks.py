"""A task says what was sent out, a delivery what came back; anything else is refused with the field's name."""

from __future__ import annotations

from typing import Any

import pytest

from contracts.datasets import LabelFileError
from contracts.label_tasks import TaskError, check_name, parse_delivery, parse_task

ITEM = {"id": "a", "text": "rain?", "language": "en", "cohort": "new"}
TASK: dict[str, Any] = {"name": "relabel-1", "source": "vendor", "why": "quarterly relabel", "taxonomy": "snips-v1",
                        "by": ["hakushi", "northgate"], "items": [ITEM]}


def test_a_task_is_read_with_its_label_set_and_its_items() -> None:
    task = parse_task(TASK)
    assert (task.name, task.by, task.taxonomy.name) == ("relabel-1", ("hakushi", "northgate"), "snips-v1")
    assert (task.items[0].cohort, task.items[0].group_id) == ("new", None)
    own = {"name": "mine", "labels": ["x", "y"], "languages": ["en"]}
    assert parse_task({**TASK, "taxonomy": own}).taxonomy.labels == ("x", "y")


@pytest.mark.parametrize(("change", "says"), [
    ({"name": "Re/label"}, "name must be"), ({"name": "x" * 25}, "24 characters"), ({"name": None}, "name must be"),
    ({"source": "rumour"}, "source must be one of vendor"), ({"why": " "}, "why must be"),
    ({"by": []}, "by must name"), ({"by": ["hakushi", "hakushi"]}, "each once"), ({"by": ["a b"]}, "by must be"),
    ({"by": [[]]}, "by must be"), ({"adjudicators": ["stranger"]}, "some of those in by"),
    ({"adjudicators": "hakushi"}, "some of those in by"),
    ({"items": []}, "items must be"), ({"items": [ITEM, ITEM]}, "used once"),
    ({"items": [{"id": "a", "text": 3, "language": "en"}]}, "entry 1: needed"),
    ({"items": [{**ITEM, "label": "x"}]}, "unknown field label"), ({"items": ["a"]}, "entry 1"),
    ({"taxonomy": "none-v9"}, "taxonomy must be one of"), ({"taxonomy": 3}, "a known name or a label set"),
    ({"taxonomy": {"name": "x", "labels": ["one"], "languages": ["en"]}}, "at least two labels"),
])
def test_a_task_that_cannot_be_used_says_why(change: dict[str, Any], says: str) -> None:
    with pytest.raises(LabelFileError, match=says):
        parse_task({**TASK, **change})


def test_a_delivery_names_who_and_its_rows() -> None:
    by, rows, _ = parse_delivery({"by": "hakushi", "votes": [{"item": "a"}, 3]}, "vendor")
    assert (by, rows) == ("hakushi", [{"item": "a"}, 3])
    for raw in (None, [], {"by": "hakushi"}, {"by": "hakushi", "votes": []}, {"by": "hakushi", "feedback": [1]}):
        with pytest.raises(TaskError, match="list votes"):
            parse_delivery(raw, "vendor")
    with pytest.raises(TaskError, match="by must be"):
        parse_delivery({"by": "../x", "votes": [1]}, "vendor")


def test_a_name_is_a_part_of_keys_and_job_names() -> None:
    assert check_name("a1-b2", "task") == "a1-b2"
    for name in ("", "-a", "a-", "a--b", "a/b", "a.b", "A", 3, "日本"):
        with pytest.raises(TaskError, match="task must be"):
            check_name(name, "task")

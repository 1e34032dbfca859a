"""A task and its deliveries: nothing before all are there, then every row accepted or quarantined with its reason."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pyiceberg.catalog.sql import SqlCatalog

from contracts.naming import TASK_FILE
from contracts.stories.intent_classifier import INTENT_CLASSIFIER
from model_code.common.iceberg import LabelRecords
from model_code.common.label_history import LabelHistory
from model_code.platform.labelling_functions import labelling_functions
from model_code.platform.settle_task import settle_task

STORY = INTENT_CLASSIFIER.slug
WEATHER, MUSIC = "get_weather", "play_music"
VENDORS = ["hakushi", "northgate"]
IDS = [f"i{n:02}" for n in range(40)]


@pytest.fixture
def records(tmp_path: Path) -> LabelRecords:
    catalog = SqlCatalog("lake", uri=f"sqlite:///{tmp_path}/catalog.db", warehouse=f"file://{tmp_path}/warehouse")
    catalog.create_namespace("labels")
    return LabelRecords(catalog=catalog, database="labels")


def task(folder: Path, **changes: Any) -> Path:
    folder.mkdir(parents=True)
    items = [{"id": id_, "text": f"secret text {id_}", "language": "en", "group_id": f"g-{id_}"} for id_ in IDS]
    (folder / TASK_FILE).write_text(json.dumps({
        "name": folder.name, "source": "vendor", "why": "relabel", "by": VENDORS, "taxonomy": "snips-v1",
        "items": items, **changes}))
    return folder


def right(id_: str) -> str:
    return (WEATHER, MUSIC)[IDS.index(id_) % 2]


def votes(*, wrong: tuple[str, ...] = (), **changes: object) -> list[Any]:
    return [{"item": id_, "annotator": "1", "label": WEATHER if id_ in wrong else right(id_), **changes}
            for id_ in IDS]


class Bench:
    """One task and what was delivered to it."""

    def __init__(self, tmp_path: Path, records: LabelRecords, name: str = "t1", **changes: Any) -> None:
        self.task, self.inbox, self.out = task(tmp_path / "tasks" / name, **changes), tmp_path / f"{name}-in", tmp_path
        self.inbox.mkdir()
        self.records, self.name = records, name

    def deliver(self, by: str, rows: list[Any], *, field: str = "votes", number: int = 1,
                **more: Any) -> dict[str, Any]:
        (self.inbox / f"{by}-{number}.json").write_text(json.dumps({"by": by, field: rows, **more}))
        return self.settle()

    def settle(self) -> dict[str, Any]:
        return settle_task(self.task, self.inbox, self.out / f"{self.name}-q", story=STORY, records=self.records)

    def quarantine(self) -> list[dict[str, str]]:
        return [json.loads(line) for line in (self.out / f"{self.name}-q/bad_rows.jsonl").read_text().splitlines()]

    @property
    def history(self) -> LabelHistory:
        return LabelHistory(catalog=self.records.catalog, database=self.records.database)


def test_nothing_is_settled_until_everybody_has_delivered(tmp_path: Path, records: LabelRecords) -> None:
    bench = Bench(tmp_path, records)
    assert bench.deliver("hakushi", votes()) == {"status": "waiting", "missing": ["northgate"], "edited": False}
    assert records.read(STORY) == (None, [])
    done = bench.deliver("northgate", votes())
    assert (done["status"], done["rows"], done["bad"], done["kappa"]) == ("ingested", 40, 0, {"en": 1.0})
    rows = records.read(STORY)[1]
    assert {(r["source"], tuple(r["annotator_labels"]), r["group_id"] == f"g-{r['id']}") for r in rows} == {
        ("vendor", (right(id_),) * 2, True) for id_ in IDS}
    assert bench.settle() == done  # a delivery that is told twice
    assert len(records.read(STORY)[1]) == 40


def test_bad_rows_are_quarantined_one_by_one_and_without_their_text(tmp_path: Path, records: LabelRecords) -> None:
    bench = Bench(tmp_path, records)
    bad = [3, {"item": "i00"}, {"item": "i00", "annotator": 1, "label": WEATHER},
           {"item": "i00", "annotator": "1", "label": "nonsense"}, {"item": "zz", "annotator": "1", "label": WEATHER},
           {"item": "i00", "annotator": "1", "label": WEATHER, "text": "smuggled"},
           {"item": ["i00"], "annotator": "1", "label": WEATHER},
           {"item": "i00", "annotator": "1", "label": WEATHER, "revision": True}]
    bench.deliver("hakushi", [*votes(), *bad])
    done = bench.deliver("northgate", votes())
    assert (done["status"], done["rows"], done["bad"]) == ("ingested", 40, 8)
    assert done["reasons"] == {"missing_field": 1, "not_an_object": 1, "unknown_field": 1, "unknown_item": 1,
                               "unknown_label": 1, "wrong_type": 3}
    assert {row["detail"].split(",")[0] for row in bench.quarantine()} == {"hakushi"}
    left = (tmp_path / "t1-q/bad_rows.jsonl").read_text() + (tmp_path / "t1-q/summary.json").read_text()
    assert not any(text in left + json.dumps(done) for text in ("secret text", "smuggled", "nonsense"))


def test_vendors_who_disagree_are_seen_although_what_they_disagree_on_is_left_out(
        tmp_path: Path, records: LabelRecords) -> None:
    bench = Bench(tmp_path, records)
    bench.deliver("hakushi", votes())
    done = bench.deliver("northgate", votes(wrong=tuple(IDS[1:20:2])))  # 10 of 40: kappa is 0.5
    assert (done["status"], done["rows"], done["kappa"]) == ("too_many_bad", 0, {"en": 0.5})
    assert done["reasons"] == {"low_agreement": 30, "unresolved": 10}
    [kept] = bench.history.agreement(STORY)
    assert (kept["kappa"], kept["rows"], kept["label_version"], kept["method"]) == (0.5, 40, 0, "cohen")
    assert records.read(STORY) == (None, [])


def test_a_later_delivery_settles_anew_and_what_changes_is_an_edit(tmp_path: Path, records: LabelRecords) -> None:
    bench = Bench(tmp_path, records)
    for vendor in VENDORS:
        first = bench.deliver(vendor, votes())
    for vendor in VENDORS:
        again = bench.deliver(vendor, [{"item": "i01", "annotator": "1", "label": WEATHER, "revision": 1}], number=2)
    assert (first["edits"], again["edits"], again["edited"]) == (0, 1, True)
    [edit] = bench.history.edits(STORY)
    assert (edit["id"], edit["before"], edit["after"]) == ("i01", MUSIC, WEATHER)
    assert (edit["who"], edit["why"]) == ("hakushi, northgate", "task t1: relabel")


def test_only_an_adjudicator_of_the_task_may_rule(tmp_path: Path, records: LabelRecords) -> None:
    ruling = [{"item": "i01", "annotator": "lead", "label": WEATHER, "adjudicator": True}]
    bench = Bench(tmp_path, records, adjudicators=["northgate"])
    bench.deliver("hakushi", [*votes(), *ruling])
    done = bench.deliver("northgate", votes())
    assert done["reasons"] == {"no_adjudicator": 1}
    assert {r["label"] for r in records.read(STORY)[1] if r["id"] == "i01"} == {MUSIC}
    bench.deliver("northgate", ruling, number=2)
    [edit] = bench.history.edits(STORY)
    assert (edit["id"], edit["after"]) == ("i01", WEATHER)


def test_who_was_not_asked_and_what_is_no_json_change_nothing(tmp_path: Path, records: LabelRecords) -> None:
    bench = Bench(tmp_path, records)
    (bench.inbox / "junk.json").write_bytes(b"\xff{")
    bench.deliver("stranger", votes(wrong=tuple(IDS)))
    bench.deliver("hakushi", votes())
    done = bench.deliver("northgate", votes())
    assert done["reasons"] == {"not_asked": 1, "unreadable_delivery": 1}
    assert {row["label"] for row in records.read(STORY)[1]} == {WEATHER, MUSIC}


def test_a_task_that_cannot_be_read_is_rejected_and_says_why(tmp_path: Path, records: LabelRecords) -> None:
    bench = Bench(tmp_path, records, taxonomy="none-v9")
    answer = bench.settle()
    assert (answer["status"], answer["edited"]) == ("too_many_bad", False)
    assert "taxonomy must be one of" in answer["detail"]


def test_implicit_feedback_takes_the_same_way(tmp_path: Path, records: LabelRecords) -> None:
    bench = Bench(tmp_path, records, source="implicit", by=["chatbot"])
    heard = [{"item": "i00", "customer": c, "at": "2026-11-28T00:00:00Z", "event_id": c, "signal": "corrected",
              "label": WEATHER} for c in "abc"]
    done = bench.deliver("chatbot", [*heard, {**heard[0], "item": "i01", "event_id": "x"}], field="feedback")
    assert (done["rows"], done["reasons"]) == (1, {"too_few_customers": 1})


def test_distilled_labels_are_audited_and_capped_by_what_people_labelled(tmp_path: Path, records: LabelRecords) -> None:
    people = Bench(tmp_path, records, "people", items=[
        {"id": f"p{n}", "text": f"p {n}", "language": "en"} for n in range(6)])
    for vendor in VENDORS:
        people.deliver(vendor, [{"item": f"p{n}", "annotator": "1", "label": WEATHER} for n in range(6)])
    ids = [f"d{n:03}" for n in range(120)]
    bench = Bench(tmp_path, records, "model", source="llm_distilled", by=["teacher-3"], items=[
        {"id": id_, "text": f"d {id_}", "language": "en"} for id_ in ids])
    said = [{"item": id_, "label": WEATHER, "confidence": 0.9} for id_ in ids]
    unaudited = bench.deliver("teacher-3", said, field="labels")
    assert (unaudited["status"], unaudited["reasons"]) == ("too_many_bad", {"not_audited": 120})
    bad = [{"item": "d000", "label": WEATHER, "confidence": float("nan")}]
    done = bench.deliver("teacher-3", said + bad, field="labels", audited=dict.fromkeys(ids[:110], WEATHER))
    # of a class at most a quarter is distilled: 6 by people allow 2
    assert (done["rows"], done["reasons"]) == (2, {"over_class_cap": 118, "value_not_allowed": 1})


def test_labelling_functions_are_those_of_the_story(tmp_path: Path, records: LabelRecords) -> None:
    names = sorted(labelling_functions(STORY, "manga14-v1"))
    items = [{"id": "a", "text": "hello", "language": "en"}, {"id": "b", "text": "I want a refund", "language": "en"},
             {"id": "c", "text": "volume three", "language": "en"}]
    bench = Bench(tmp_path, records, source="programmatic", by=["rules"], taxonomy="manga14-v1", items=items)
    done = bench.deliver("rules", [*names, "gone"], field="functions")
    assert (done["rows"], done["reasons"]) == (2, {"no_function_applies": 1, "unknown_function": 1})
    assert {(r["id"], r["label"]) for r in records.read(STORY)[1]} == {("a", "smalltalk"), ("b", "return_request")}
    assert labelling_functions("spam", "manga14-v1") == {}

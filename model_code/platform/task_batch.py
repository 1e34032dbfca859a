"""A task and its deliveries -> one batch of its source, and the delivered rows that no rule could look at.

A row is turned down by itself: who delivered it and its place are told, its content never. What is left goes through
the rules of its source; the same deliveries give the same batch, in whatever order they came.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, fields
from typing import Any, TypeVar

from contracts.label_tasks import Item, LabelTask, TaskError, parse_delivery
from model_code.platform.reconciliation import Vote
from model_code.platform.sources.batch import LabelBatch, Quarantined
from model_code.platform.sources.distilled import Distilled, distilled_batch
from model_code.platform.sources.implicit import Feedback, implicit_batch
from model_code.platform.sources.programmatic import LabellingFunction, Text, programmatic_batch
from model_code.platform.sources.vendor import vendor_batch

NOT_ASKED, UNREADABLE = "not_asked", "unreadable_delivery"

Row = TypeVar("Row", Vote, Feedback, Distilled)
Delivery = tuple[str, list[Any], Mapping[str, Any]]


def read_deliveries(task: LabelTask, raw: Mapping[str, object]) -> tuple[list[Delivery], list[Quarantined]]:
    """`raw`: file name -> its JSON, None when it is none. Deliveries of those who were asked, by file name."""
    found, refused = [], []
    for name in sorted(raw):
        try:
            delivery = parse_delivery(raw[name], task.source)
        except TaskError as error:
            refused.append(Quarantined(id=name, reason=UNREADABLE, detail=str(error)))
            continue
        if delivery[0] in task.by:
            found.append(delivery)
        else:
            refused.append(Quarantined(id=name, reason=NOT_ASKED, detail=f"{delivery[0]} was not asked"))
    return found, refused


def batch_of(task: LabelTask, deliveries: Sequence[Delivery], *, by_people: Mapping[str, int],
             functions: Mapping[str, LabellingFunction]) -> tuple[LabelBatch, list[Quarantined]]:
    """`by_people`: label -> how many labels by people there are. `functions`: the story's labelling functions."""
    items = {item.id: item for item in task.items}
    texts = {item.id: item.text for item in task.items}
    who, why = ", ".join(sorted({by for by, _, _ in deliveries})), f"task {task.name}: {task.why}"
    bad: list[Quarantined] = []

    def rows(kind: type[Row], made: Callable[[str, Item, Mapping[str, Any]], Row]) -> Iterator[Row]:
        for by, delivered, _ in deliveries:
            for number, raw in enumerate(delivered, start=1):
                problem = _problem(raw, kind, items, task.taxonomy.labels)
                if problem is None and raw.get("adjudicator") and by not in task.adjudicators:
                    problem = ("no_adjudicator", "adjudicator")
                if problem:
                    bad.append(Quarantined(id=_named(raw, items) or f"row {number}", reason=problem[0],
                                           detail=f"{by}, row {number}, field {problem[1]}"))
                else:
                    yield made(by, items[raw["item"]], raw)

    if task.source == "vendor":
        votes = list(rows(Vote, lambda by, item, raw: Vote(**raw, vendor=by, language=item.language)))
        return vendor_batch(votes, texts, who=who, why=why), bad
    if task.source == "implicit":
        heard = list(rows(Feedback, lambda by, item, raw: Feedback(**raw, language=item.language)))
        return implicit_batch(heard, texts, who=who, why=why), bad
    if task.source == "llm_distilled":
        labels = [row for row in rows(Distilled, lambda by, item, raw: Distilled(
            id=item.id, text=item.text, language=item.language, label=raw["label"],
            confidence=float(raw["confidence"])))]
        audited = {str(item): str(label) for _, _, whole in deliveries for item, label in _audited(whole).items()
                   if label in task.taxonomy.labels}
        return distilled_batch(labels, audited, by_people, who=who, why=why)[0], bad
    asked = sorted({name for _, delivered, _ in deliveries for name in delivered if isinstance(name, str)})
    bad += [Quarantined(id=f"function {n}", reason="unknown_function", detail=f"known are {', '.join(functions)}"[:200])
            for n, name in enumerate(asked, start=1) if name not in functions]
    chosen = {name: functions[name] for name in asked if name in functions}
    if not chosen:
        return LabelBatch(source=task.source, proposed=(), who=who, why=why), bad
    unlabelled = [Text(id=item.id, text=item.text, language=item.language) for item in task.items]
    return programmatic_batch(unlabelled, chosen, who=who, why=why)[0], bad


# What a delivered row must and may say, per kind: its class has the rest from the task or from who delivers.
_OURS = {"vendor", "language", "id", "text"}
_TYPES: dict[str, tuple[type, ...]] = {"str": (str,), "int": (int,), "bool": (bool,), "float": (int, float)}


def _problem(raw: object, kind: type[Any], items: Mapping[str, Item], labels: Sequence[str]) -> tuple[str, str] | None:
    """(reason, field) of the first thing wrong with a delivered row; None when it can be used."""
    if not isinstance(raw, Mapping):
        return "not_an_object", "(row)"
    spoken = {f.name: f for f in fields(kind) if f.name not in _OURS}
    wanted = {"item": (str,), **{name: _TYPES[str(f.type)] for name, f in spoken.items()}}
    for name, types in wanted.items():
        if name not in raw:
            if name == "item" or spoken[name].default is MISSING:
                return "missing_field", name
        elif not isinstance(raw[name], types) or (bool not in types and isinstance(raw[name], bool)):
            return "wrong_type", name
    if set(raw) - set(wanted):
        return "unknown_field", "(row)"  # its name is the sender's text
    if raw["item"] not in items:
        return "unknown_item", "item"
    if not 0 <= raw.get("confidence", 0) <= 1:  # NaN is not, either
        return "value_not_allowed", "confidence"
    return ("unknown_label", "label") if raw["label"] not in labels else None


def _named(raw: object, items: Mapping[str, Item]) -> str | None:
    item = raw.get("item") if isinstance(raw, Mapping) else None
    return item if isinstance(item, str) and item in items else None


def _audited(whole: Mapping[str, Any]) -> Mapping[str, Any]:
    found = whole.get("audited")
    return found if isinstance(found, Mapping) else {}

"""Accuracy, macro-F1 and recall over rows and slices; pure functions of labels."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import combinations

from contracts.taxonomies import slice_key
from model_code.intent_classifier.rows import Example


def accuracy(truth: Sequence[str], answers: Sequence[str]) -> float:
    if not truth or len(truth) != len(answers):
        raise ValueError(f"needs as many answers as rows and at least one, got {len(truth)} and {len(answers)}")
    return sum(t == a for t, a in zip(truth, answers, strict=True)) / len(truth)


def per_intent(truth: Sequence[str], answers: Sequence[str]) -> dict[str, dict[str, float]]:
    """Rows, precision, recall and F1 of each intent that occurs in `truth`; precision 0 when never answered."""
    rows, answered = Counter(truth), Counter(answers)
    hits = Counter(t for t, a in zip(truth, answers, strict=True) if t == a)
    return {
        intent: {
            "rows": rows[intent],
            "precision": hits[intent] / answered[intent] if answered[intent] else 0.0,
            "recall": hits[intent] / rows[intent],
            "f1": 2 * hits[intent] / (rows[intent] + answered[intent]),
        }
        for intent in sorted(rows)
    }


def macro(intents: dict[str, dict[str, float]], measure: str) -> float:
    return sum(found[measure] for found in intents.values()) / len(intents)


def slice_keys(row: Example) -> list[str]:
    """Every slice a row is in: language, with cohort, with daypart, and the intent with each of the first two."""
    dimensions = {"language": row.language, "cohort": row.cohort, "daypart": row.daypart}
    there = {name: value for name, value in dimensions.items() if value}
    keys = [
        slice_key({name: there[name] for name in names})
        for size in range(1, len(there) + 1) for names in combinations(there, size) if names[0] == "language"
    ]
    by_intent = {"intent": row.label, "language": row.language}
    keys += [slice_key({"intent": row.label}), slice_key(by_intent)]
    if row.cohort:
        keys.append(slice_key({**by_intent, "cohort": row.cohort}))
    return keys


def slices(rows: Sequence[Example], answers: Sequence[str]) -> dict[str, dict[str, float]]:
    """Rows, accuracy and (where a slice holds more than one intent) macro-F1 over its intents."""
    members: dict[str, list[int]] = defaultdict(list)
    for place, row in enumerate(rows):
        for key in slice_keys(row):
            members[key].append(place)
    report = {}
    for key, places in sorted(members.items()):
        truth, given = [rows[i].label for i in places], [answers[i] for i in places]
        report[key] = {"rows": len(places), "accuracy": accuracy(truth, given)}
        if not key.startswith("intent="):
            report[key]["macro_f1"] = macro(per_intent(truth, given), "f1")
    return report

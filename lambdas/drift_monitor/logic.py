"""Captured requests against the champion's reference: one number per monitor and language.

A window with fewer requests than its contract asks for says nothing: no PSI is published, so the
alarm sees missing data rather than calm.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from contracts.drift import Reference, psi
from contracts.gates import lookup
from contracts.metrics import LANGUAGE_ALL
from contracts.story import DriftMonitor

NO_EVIDENCE = "no evidence"
NO_REFERENCE = "no reference"

References = Mapping[str, Sequence[Reference]]  # language -> one reference per feature


@dataclass(frozen=True, kw_only=True)
class WindowResult:
    """`value` is the monitor's number, or None with the reason in `note`."""

    monitor: str
    language: str
    requests: int
    value: float | None = None
    feature: str = ""
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        shown = {
            "monitor": self.monitor,
            "language": self.language,
            "requests": self.requests,
            "psi": self.value,
            "feature": self.feature,
        }
        return {**shown, "note": self.note} if self.note else shown


def parse_references(raw: Mapping[str, Any]) -> dict[str, tuple[Reference, ...]]:
    """drift_reference.json: {"features": {"en": [...], ...}}."""
    return {
        language: tuple(Reference.from_dict(r) for r in references)
        for language, references in raw["features"].items()
    }


def feature_value(record: Mapping[str, Any], feature: str) -> object:
    """A feature of the request, or something the model answered; None when the record lacks it."""
    features = record.get("features")
    if isinstance(features, Mapping) and feature in features:
        return features[feature]
    return record.get(feature)


class Histograms:
    """Counts per language and feature, filled record by record: a window is never held in memory."""

    def __init__(self, references: References) -> None:
        self._references = {lang: {r.feature: r for r in refs} for lang, refs in references.items()}
        self._counts = {
            lang: {name: [0] * len(r.counts) for name, r in refs.items()}
            for lang, refs in self._references.items()
        }
        self.requests: Counter[str] = Counter()

    def add(self, record: Mapping[str, Any]) -> None:
        for language in (str(record.get("language")), LANGUAGE_ALL):
            self.requests[language] += 1
            for name, reference in self._references.get(language, {}).items():
                index = _bin(reference, feature_value(record, name))
                if index is not None:
                    self._counts[language][name][index] += 1

    def judge(self, monitor: DriftMonitor) -> list[WindowResult]:
        """The largest PSI over the monitor's features, per language seen or referred to."""
        languages = (self.requests.keys() | self._references.keys()) - {LANGUAGE_ALL}
        if LANGUAGE_ALL in self._references:
            languages |= {LANGUAGE_ALL}
        return [self._judge_language(monitor, language) for language in sorted(languages)]

    def _judge_language(self, monitor: DriftMonitor, language: str) -> WindowResult:
        requests = self.requests[language]
        if requests < monitor.min_requests:
            return WindowResult(monitor=monitor.name, language=language, requests=requests, note=NO_EVIDENCE)
        found = [
            (psi(self._references[language][name].counts, self._counts[language][name]), name)
            for name in monitor.features
            if name in self._references.get(language, {})
            and sum(self._counts[language][name]) >= monitor.min_requests
        ]
        if not found:
            return WindowResult(monitor=monitor.name, language=language, requests=requests, note=NO_REFERENCE)
        value, feature = max(found)
        return WindowResult(
            monitor=monitor.name, language=language, requests=requests, value=value, feature=feature
        )


def _bin(reference: Reference, value: object) -> int | None:
    """None for what can't be binned: a number is needed where the reference has edges."""
    if value is None or (reference.edges and (isinstance(value, bool) or not isinstance(value, int | float))):
        return None
    return reference.bin(value)


def macro_f1(pairs: Iterable[tuple[str, str]]) -> float:
    """Mean F1 over the labels that occur, of (right, answered) pairs."""
    hits: Counter[str] = Counter()
    right: Counter[str] = Counter()
    answered: Counter[str] = Counter()
    for truth, answer in pairs:
        right[truth] += 1
        answered[answer] += 1
        hits[truth] += truth == answer
    labels = right.keys() | answered.keys()
    return sum(2 * hits[label] / (right[label] + answered[label]) for label in labels) / len(labels)


def judge_concept(
    monitor: DriftMonitor,
    records: Iterable[Mapping[str, Any]],
    feedback: Mapping[str, str],
    evaluation: Mapping[str, Any],
) -> list[WindowResult]:
    """How far macro-F1 on requests with feedback lies below the champion's own evaluation."""
    pairs: dict[str, list[tuple[str, str]]] = {LANGUAGE_ALL: []}
    for record in records:
        truth = feedback.get(str(record.get("request_id")))
        if truth is not None:
            for language in (LANGUAGE_ALL, str(record.get("language"))):
                pairs.setdefault(language, []).append((truth, str(record.get("intent"))))
    results = []
    for language, found in sorted(pairs.items()):
        result = WindowResult(monitor=monitor.name, language=language, requests=len(found), note=NO_EVIDENCE)
        if len(found) >= monitor.min_requests:
            expected = _expected_f1(evaluation, language)
            result = (
                WindowResult(monitor=monitor.name, language=language, requests=len(found), note=NO_REFERENCE)
                if expected is None
                else WindowResult(
                    monitor=monitor.name,
                    language=language,
                    requests=len(found),
                    value=expected - macro_f1(found),
                    feature="macro_f1",
                )
            )
        results.append(result)
    return results


def _expected_f1(evaluation: Mapping[str, Any], language: str) -> float | None:
    if language == LANGUAGE_ALL:
        return lookup(evaluation, "metrics.macro_f1")
    slices = evaluation.get("slices")
    found = slices.get(f"language={language}") if isinstance(slices, Mapping) else None
    return lookup(found, "macro_f1") if isinstance(found, Mapping) else None

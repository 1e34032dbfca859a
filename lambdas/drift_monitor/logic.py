"""Requests whose truth came later against the champion's own evaluation: how far macro-F1 has fallen."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from contracts.drift_outcome import judge_f1
from contracts.drift_windows import NO_EVIDENCE, NO_REFERENCE, WHOLE, Slice, WindowResult, rule_of
from contracts.gates import lookup
from contracts.metrics import LANGUAGE_ALL
from contracts.story import DriftMonitor


def judge_concept(
    monitor: DriftMonitor,
    records: Iterable[Mapping[str, Any]],
    feedback: Mapping[str, str],
    evaluation: Mapping[str, Any],
) -> list[WindowResult]:
    """How far macro-F1 on requests with feedback lies below the champion's own evaluation, per language and cohort."""
    confusions: dict[Slice, Counter[tuple[str, str]]] = {(LANGUAGE_ALL, WHOLE): Counter()}
    seen: set[str] = set()  # captures are delivered at least once
    for record in records:
        request, language = str(record.get("request_id")), str(record.get("language"))
        truth = feedback.get(request)
        if truth is None or request in seen:
            continue
        seen.add(request)
        slices = ((LANGUAGE_ALL, WHOLE), (language, WHOLE), (language, str(record.get("cohort") or WHOLE)))
        for where in dict.fromkeys(slices):
            confusions.setdefault(where, Counter())[truth, str(record.get("intent"))] += 1
    return [_judge_confusion(monitor, where, found, evaluation) for where, found in sorted(confusions.items())]


def _judge_confusion(
    monitor: DriftMonitor, where: Slice, confusion: Counter[tuple[str, str]], evaluation: Mapping[str, Any]
) -> WindowResult:
    (language, cohort), requests = where, confusion.total()
    said: dict[str, Any] = {"monitor": monitor.name, "language": language, "cohort": cohort, "requests": requests}
    if requests < monitor.min_requests:
        return WindowResult(**said, note=NO_EVIDENCE)
    expected, error = _expected_f1(evaluation, where)
    found = judge_f1(expected, confusion, rule_of(monitor), expected_error=error)
    if found.effect is None:
        return WindowResult(**said, note=NO_REFERENCE)
    return WindowResult(**said, value=found.effect, p_value=found.p_value, feature="macro_f1")


def _expected_f1(evaluation: Mapping[str, Any], where: Slice) -> tuple[float | None, float]:
    """(macro-F1, its standard error); the error is that of a share of the slice's golden rows, 0 when unknown."""
    language, cohort = where
    if language == LANGUAGE_ALL:
        value, rows = lookup(evaluation, "metrics.macro_f1"), lookup(evaluation, "golden.rows")
    else:
        key = f"language={language}" + (f",cohort={cohort}" if cohort else "")
        slices = evaluation.get("slices")
        found = slices.get(key) if isinstance(slices, Mapping) else None
        known = found if isinstance(found, Mapping) else {}
        value, rows = lookup(known, "macro_f1"), lookup(known, "rows")
    error = math.sqrt(value * (1 - value) / rows) if value is not None and rows and 0 <= value <= 1 else 0.0
    return value, error

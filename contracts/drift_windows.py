"""Counts of captured requests over the bins of a champion's reference: they add up over hours and over regions.

What is kept and what travels are whole numbers, never a request. A window with fewer requests than its contract asks
for says nothing: no PSI is given, so an alarm sees missing data rather than calm.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from contracts import alarm_budget
from contracts.drift import Reference
from contracts.drift_outcome import Outcome, Rule, Verdict, judge_counts
from contracts.metrics import LANGUAGE_ALL
from contracts.story import DriftMonitor

NO_EVIDENCE = "no evidence"
NO_REFERENCE = "no reference"
WHOLE = ""  # in place of a cohort: the language with all its cohorts

Slice = tuple[str, str]  # language, cohort
References = Mapping[Slice, Sequence[Reference]]  # one reference per feature


@dataclass(frozen=True, kw_only=True)
class WindowResult:
    """`value` is the monitor's number and `p_value` its chance without drift, or None with the reason in `note`."""

    monitor: str
    language: str
    requests: int
    cohort: str = WHOLE
    value: float | None = None
    p_value: float | None = None
    feature: str = ""
    note: str = ""
    hours: int = 0  # of a span that was added up from hours; 0: one look's own window

    def held(self, threshold: float, level: float) -> float | None:
        """What an alarm on `threshold` may see: the number, held at the threshold unless it is beyond chance."""
        if self.value is None or self.p_value is None or self.p_value <= level:
            return self.value
        return min(self.value, threshold)

    def to_dict(self) -> dict[str, Any]:
        shown: dict[str, Any] = {
            "monitor": self.monitor,
            "language": self.language,
            "requests": self.requests,
            "psi": self.value,
            "feature": self.feature,
        }
        optional = {"cohort": self.cohort, "p_value": self.p_value, "note": self.note, "hours": self.hours}
        return {**shown, **{name: value for name, value in optional.items() if value not in ("", None, 0)}}


def rule_of(monitor: DriftMonitor) -> Rule:
    return Rule(
        threshold=monitor.threshold, level=alarm_budget.alarm_rule(monitor).level, min_rows=monitor.min_requests
    )


def parse_references(raw: Mapping[str, Any]) -> dict[Slice, tuple[Reference, ...]]:
    """drift_reference.json: {"features": {"en": [...]}, "cohorts": {"en": {"new": [...]}}}; the latter may lack."""
    found = {(language, WHOLE): _parse(refs) for language, refs in raw["features"].items()}
    for language, cohorts in raw.get("cohorts", {}).items():
        found |= {(language, cohort): _parse(refs) for cohort, refs in cohorts.items()}
    return found


def _parse(references: Sequence[Mapping[str, Any]]) -> tuple[Reference, ...]:
    return tuple(Reference.from_dict(reference) for reference in references)


def feature_value(record: Mapping[str, Any], feature: str) -> object:
    """A feature of the request, or something the model answered; None when the record lacks it."""
    features = record.get("features")
    if isinstance(features, Mapping) and feature in features:
        return features[feature]
    return record.get(feature)


class Histograms:
    """Counts per slice and feature, filled record by record: a window is never held in memory."""

    def __init__(self, references: References) -> None:
        self._references = references
        self._by_name = {where: {r.feature: r for r in refs} for where, refs in references.items()}
        self._counts = {
            where: {name: [0] * len(r.counts) for name, r in refs.items()}
            for where, refs in self._by_name.items()
        }
        self.requests: Counter[Slice] = Counter()

    def add(self, record: Mapping[str, Any]) -> None:
        language, cohort = str(record.get("language")), str(record.get("cohort") or WHOLE)
        for where in dict.fromkeys(((language, WHOLE), (LANGUAGE_ALL, WHOLE), (language, cohort))):
            self.requests[where] += 1
            for name, reference in self._by_name.get(where, {}).items():
                index = _bin(reference, feature_value(record, name))
                if index is not None:
                    self._counts[where][name][index] += 1

    @property
    def seen(self) -> int:
        """Requests of all languages and cohorts, each once."""
        return self.requests[LANGUAGE_ALL, WHOLE]

    def merge(self, other: Histograms) -> Histograms:
        """Counts of both, over the bins of this one; exact, in any order. ValueError for counts over other bins."""
        merged = Histograms(self._references)
        merged.requests = self.requests + other.requests
        for where, features in merged._counts.items():
            for name, counts in features.items():
                pair = zip(self._counts[where][name], other._counts[where][name], strict=True)
                counts[:] = [mine + others for mine, others in pair]
        return merged

    def to_dict(self) -> dict[str, Any]:
        return {
            "requests": [[*where, number] for where, number in sorted(self.requests.items())],
            "counts": [[*where, name, counts] for where, features in sorted(self._counts.items())
                       for name, counts in sorted(features.items())],
        }

    @classmethod
    def from_dict(cls, references: References, raw: Mapping[str, Any]) -> Histograms:
        """ValueError when the counts lie over other bins than the references'."""
        found = cls(references)
        found.requests = Counter({(language, cohort): number for language, cohort, number in raw["requests"]})
        said = {(language, cohort, name): counts for language, cohort, name, counts in raw["counts"]}
        wanted = {(*where, name): len(counts) for where, features in found._counts.items()
                  for name, counts in features.items()}
        if wanted != {key: len(counts) for key, counts in said.items()}:
            raise ValueError(f"counts of {len(said)} features and slices don't lie over the champion's bins, which are "
                             f"{len(wanted)}: they were made with another version's reference")
        for language, cohort, name in wanted:
            found._counts[language, cohort][name] = list(said[language, cohort, name])
        return found

    def judge(self, monitor: DriftMonitor) -> list[WindowResult]:
        """The largest PSI over the monitor's features, per slice seen or referred to; a language before its cohorts.

        All languages together are judged only where the reference has them.
        """
        slices = (self.requests.keys() | self._references.keys()) - {(LANGUAGE_ALL, WHOLE)}
        slices |= {(LANGUAGE_ALL, WHOLE)} & self._references.keys()
        return [self._judge_slice(monitor, where) for where in sorted(slices)]

    def _judge_slice(self, monitor: DriftMonitor, where: Slice) -> WindowResult:
        (language, cohort), requests = where, self.requests[where]
        said: dict[str, Any] = {"monitor": monitor.name, "language": language, "cohort": cohort, "requests": requests}
        if requests < monitor.min_requests:
            return WindowResult(**said, note=NO_EVIDENCE)
        found = [(name, self._judge_feature(monitor, where, name)) for name in monitor.features
                 if name in self._by_name.get(where, {})]
        judged = [(o.verdict is Verdict.DRIFTED, o.effect, name, o) for name, o in found if o.effect is not None]
        if not judged:
            return WindowResult(**said, note=found[0][1].reason if found else NO_REFERENCE)
        _, effect, feature, outcome = max(judged, key=lambda j: j[:3])
        return WindowResult(**said, value=effect, p_value=outcome.p_value, feature=feature)

    def _judge_feature(self, monitor: DriftMonitor, where: Slice, name: str) -> Outcome:
        counts = self._counts[where][name]
        return judge_counts(self._by_name[where][name].counts, counts, rule_of(monitor),
                            missing=self.requests[where] - sum(counts))


def _bin(reference: Reference, value: object) -> int | None:
    """None for what can't be binned: a number is needed where the reference has edges."""
    if value is None or (reference.edges and (isinstance(value, bool) or not isinstance(value, int | float))):
        return None
    return reference.bin(value)


_OBJECT_NAME = "%Y-%m-%dT%H.json"


def object_name(end: datetime) -> str:
    """Of the counts of the hour that ended then, below `naming.drift_windows_prefix(SLUG)` and the version."""
    return end.astimezone(UTC).strftime(_OBJECT_NAME)


def end_of(name: str) -> datetime:
    return datetime.strptime(name, _OBJECT_NAME).replace(tzinfo=UTC)

"""What all stories watch alike: PSI 0.2 over 200 requests, looked at every hour; labels that come later, daily."""

from __future__ import annotations

from contracts.story import DriftMonitor

MIN_REQUESTS = 200  # fewer say nothing
LARGE_PSI = 0.2  # a large shift by convention (contracts/drift.py)
_HOUR_S, _DAY_S = 3_600, 86_400


def distribution(kind: str, *features: str) -> DriftMonitor:
    """Input, label or prediction drift of `features`; named after its kind."""
    return DriftMonitor(name=kind, kind=kind, features=features, threshold=LARGE_PSI, window_s=_HOUR_S,
                        detect_within_s=_DAY_S, min_requests=MIN_REQUESTS)


def concept(measure: str, *, largest_drop: float) -> DriftMonitor:
    """Concept drift: how far `measure` may drop below the champion's evaluation, on answers whose label came later."""
    return DriftMonitor(name="concept", kind="concept", features=(measure,), threshold=largest_drop, window_s=_DAY_S,
                        detect_within_s=7 * _DAY_S, min_requests=MIN_REQUESTS)

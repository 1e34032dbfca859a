"""The only place where a metric of ours is named.

Every metric carries `Story` and `Language`, so that no average hides one language; what is not
about requests has the language `all`. An alarm must name the dimensions exactly as listed here.
"""

from __future__ import annotations

NAMESPACE = "MangaAssist/ML"

STORY, LANGUAGE, FEATURE, FLAG, REASON = "Story", "Language", "Feature", "Flag", "Reason"
MONITOR, OUTCOME, VERSION = "Monitor", "Outcome", "Version"
LANGUAGE_ALL = "all"

REQUESTS = "Requests"
LATENCY_MS = "LatencyMs"
INVALID_REQUESTS = "InvalidRequests"
CACHE_HITS = "CacheHits"
CACHE_MISSES = "CacheMisses"  # asked and not found; a cache that is down or off shows in neither
CACHE_ERRORS = "CacheErrors"
FALLBACKS = "Fallbacks"  # answered with the story's declared default
DEADLINE_EXCEEDED = "DeadlineExceeded"
CAPTURE_FAILURES = "CaptureFailures"

# What a container answered, and which version it was: SageMaker's own metrics blend champion and canary.
SERVED = "Served"
SERVED_ERRORS = "ServedErrors"  # with a 5xx
SERVED_SLOW = "ServedSlow"  # slower than the story's slowest latency objective
SERVED_UNSURE = "ServedUnsure"  # less confident than the canary test allows: as a rule a text unlike those it knows

# Largest PSI over a language's features and cohorts, held at the monitor's threshold unless it is beyond chance:
INPUT_PSI = "InputPsi"  # at one look
SUSTAINED_PSI = "SustainedPsi"  # at each of several looks
UNJUDGED_WINDOW = "UnjudgedWindow"  # 1 when a language's window had too little to be judged, else 0
WINDOW_REQUESTS = "WindowRequests"
CONCEPT_F1_DROP = "ConceptF1Drop"

FLAG_FALLBACK = "FlagFallback"  # a kill switch could not be read and its safe default was used
FEATURES_STALE = "FeaturesStale"  # 1 when a freeze took features from the last good manifest, 0 from the store
DRIFT_IGNORED = "DriftTriggerIgnored"
RETRAIN_OUTCOME = "RetrainOutcome"
CANARY_ABORT = "CanaryAbort"
TRAINING_USD = "TrainingUsd"

# metric -> its dimensions, in order
DIMENSIONS: dict[str, tuple[str, ...]] = {
    REQUESTS: (STORY, LANGUAGE),
    LATENCY_MS: (STORY, LANGUAGE),
    INVALID_REQUESTS: (STORY, LANGUAGE),
    CACHE_HITS: (STORY, LANGUAGE),
    CACHE_MISSES: (STORY, LANGUAGE),
    CACHE_ERRORS: (STORY, LANGUAGE),
    FALLBACKS: (STORY, LANGUAGE),
    DEADLINE_EXCEEDED: (STORY, LANGUAGE),
    CAPTURE_FAILURES: (STORY, LANGUAGE),
    SERVED: (STORY, LANGUAGE, VERSION),
    SERVED_ERRORS: (STORY, LANGUAGE, VERSION),
    SERVED_SLOW: (STORY, LANGUAGE, VERSION),
    SERVED_UNSURE: (STORY, LANGUAGE, VERSION),
    INPUT_PSI: (STORY, LANGUAGE, MONITOR),
    SUSTAINED_PSI: (STORY, LANGUAGE, MONITOR),
    UNJUDGED_WINDOW: (STORY, LANGUAGE, MONITOR),
    WINDOW_REQUESTS: (STORY, LANGUAGE, MONITOR),
    CONCEPT_F1_DROP: (STORY, LANGUAGE),
    CANARY_ABORT: (STORY, LANGUAGE),
    FLAG_FALLBACK: (STORY, LANGUAGE, FLAG),
    FEATURES_STALE: (STORY, LANGUAGE),
    DRIFT_IGNORED: (STORY, LANGUAGE, REASON),
    RETRAIN_OUTCOME: (STORY, LANGUAGE, OUTCOME),
    TRAINING_USD: (STORY, LANGUAGE),
}


def dimensions(metric: str, **values: str) -> dict[str, str]:
    """Name -> value of each dimension of `metric`; `Language` is `all` unless given."""
    given = {LANGUAGE: LANGUAGE_ALL, **{name.capitalize(): value for name, value in values.items()}}
    wanted = DIMENSIONS[metric]
    if set(given) != set(wanted):
        raise ValueError(f"metric {metric} has the dimensions {', '.join(wanted)}, got {', '.join(given)}")
    return {name: given[name] for name in wanted}

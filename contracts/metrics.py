"""The only place where a metric of ours is named.

Every metric carries `Story` and `Language`, so that no average hides one language.
"""

from __future__ import annotations

NAMESPACE = "MangaAssist/ML"

STORY, LANGUAGE, FEATURE, FLAG, REASON = "Story", "Language", "Feature", "Flag", "Reason"
LANGUAGE_ALL = "all"

REQUESTS = "Requests"
LATENCY_MS = "LatencyMs"
INVALID_REQUESTS = "InvalidRequests"

INPUT_PSI = "InputPsi"  # largest PSI over the monitored features of one language
WINDOW_REQUESTS = "WindowRequests"
CONCEPT_F1_DROP = "ConceptF1Drop"

FLAG_FALLBACK = "FlagFallback"  # a kill switch could not be read and its safe default was used
DRIFT_IGNORED = "DriftTriggerIgnored"
RETRAIN_OUTCOME = "RetrainOutcome"
CANARY_ABORT = "CanaryAbort"
TRAINING_USD = "TrainingUsd"

"""The labelling functions of each story, by name: rules that people wrote, which name a label or abstain."""

from __future__ import annotations

import re
from collections.abc import Mapping

from contracts.stories.intent_classifier import INTENT_CLASSIFIER
from model_code.intent_classifier.prefilter import PATTERNS
from model_code.platform.sources.programmatic import LabellingFunction


def _says(label: str, pattern: str) -> LabellingFunction:
    compiled = re.compile(pattern, re.IGNORECASE)
    return lambda text: label if compiled.search(text) else None


def labelling_functions(story: str, taxonomy: str) -> Mapping[str, LabellingFunction]:
    """Name -> function; empty for a story or label set without any."""
    if story != INTENT_CLASSIFIER.slug:
        return {}
    return {f"prefilter-{label}": _says(label, pattern) for label, pattern in PATTERNS.get(taxonomy, ())}

"""Hand-written rules that may answer before the model does.

A rule answers only when it has proved itself: its confidence is the lower end of the 95 % Wilson
interval of its precision on the training rows, and it needs the contract's minimum (0.85: 22 hits
without a miss). Rules travel in the signed artifact with their measured confidence. A label set
without rules here has no pre-filter.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from math import sqrt

from contracts.stories.intent_classifier import INTENT_CLASSIFIER
from model_code.intent_classifier.rows import Example
from model_code.intent_classifier.serving_config import Rule

MIN_CONFIDENCE = INTENT_CLASSIFIER.prefilter_min_confidence

# label set -> (intent, pattern), matched anywhere in the redacted text, without case
PATTERNS: dict[str, tuple[tuple[str, str], ...]] = {
    "manga14-v1": (
        ("escalation", r"\b(speak|talk|chat|connect|transfer|put)\b.{0,20}"
                       r"\b(human|person|agent|representative|manager|supervisor)\b"),
        ("escalation", r"(担当者|責任者|オペレーター|人間|上司)(の方)?(に|と|へ).{0,8}(代わ|繋|つな|話|相談)"),
        ("return_request", r"\b(return|send back|refund)\b.{0,30}\b(it|this|them|volume|book|copy|order)\b"),
        ("return_request", r"返品(し|を|の手続|希望|お願い|でき)"),
        ("order_status", r"\bwhere('s| is) my (order|package|parcel)\b"),
        ("account_help", r"\b(reset|forgot|forgotten|change)\b.{0,15}\bpassword\b"),
        ("account_help", r"(パスワード|password).{0,10}(忘れ|リセット|変更|reset)"),
        ("smalltalk", r"^(hi|hello|hey|thanks|thank you|good (morning|evening|night)|こんにちは|こんばんは"
                      r"|おはよう(ございます)?|ありがとう(ございます)?)[!！.。 ]*$"),
    ),
}


def wilson_lower(hits: int, total: int, *, z: float = 1.96) -> float:
    """Lower end of the 95 % interval of a proportion (Wilson 1927); 0.0 without rows."""
    if total == 0:
        return 0.0
    p = hits / total
    centre = p + z * z / (2 * total)
    spread = z * sqrt(p * (1 - p) / total + z * z / (4 * total * total))
    return (centre - spread) / (1 + z * z / total)


def measured_rules(taxonomy: str, rows: Sequence[Example], *, minimum: float = MIN_CONFIDENCE) -> list[Rule]:
    """The rules of a label set that reach `minimum` on these training rows, each with its confidence."""
    kept = []
    for intent, pattern in PATTERNS.get(taxonomy, ()):
        compiled = re.compile(pattern, re.IGNORECASE)
        labels = [row.label for row in rows if compiled.search(row.text)]
        confidence = wilson_lower(labels.count(intent), len(labels))
        if confidence >= minimum:
            kept.append(Rule(intent=intent, pattern=pattern, confidence=confidence))
    return kept


class PreFilter:
    """Compiled rules of one model."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._rules = [(re.compile(rule.pattern, re.IGNORECASE), rule) for rule in rules]

    def match(self, text: str) -> Rule | None:
        """The surest rule that matches; None when none does, or when two intents claim the text."""
        found = [rule for pattern, rule in self._rules if pattern.search(text)]
        if not found or len({rule.intent for rule in found}) > 1:
            return None
        return max(found, key=lambda rule: rule.confidence)

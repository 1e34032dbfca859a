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

# label set -> (intent, pattern), matched anywhere in the redacted text, without case. One pattern an
# intent, in both languages: evidence adds up. What customers say when they want one thing only.
PATTERNS: dict[str, tuple[tuple[str, str], ...]] = {
    "manga14-v1": (
        ("escalation",
         r"\b(speak|talk|chat|connect|transfer|put)\b.{0,20}"
         r"\b(human|person|agent|representative|manager|supervisor|staff)\b"
         r"|\b(human|live|real) (agent|person|being)\b|\bcall ?back from\b|\bcall me back\b"
         r"|(担当者|責任者|オペレーター|人間|上司|スタッフ|店長|human|agent|manager|operator).{0,4}(に|と|へ)"
         r".{0,8}(代わ|替わ|繋|つな|話|相談|connect)"),
        ("account_help",
         r"\b(reset|forgot|forgotten|change|changing)\b.{0,15}\bpassword\b|\blog(ged)? ?in to my account\b"
         r"|\b(email|e-mail|address|name) (on|in|saved in|of) my (account|profile)\b"
         r"|(パスワード|password).{0,10}(忘れ|リセット|変更|変え|reset)"
         r"|(ログイン|log ?in).{0,3}(でき|出来)(な|ま|へん)"),
        ("order_status",
         r"\bwhere('s| is) my (order|package|parcel)\b|\bout for delivery\b"
         r"|\btracking (number|link|page)\b.{0,30}\[order\]"
         r"|\[order\].{0,20}(今どこ|どこまで|届い|発送され|配送状況)"
         r"|(注文した|order した).{0,25}(今どこ|まだ届|いつ届|発送され)"),
        ("return_request",
         r"\b(want|like|need|get|have)\b.{0,12}\b(a refund|my money back|to return)\b"
         r"|返品(し|を|の手続|希望|お願い|でき)|返金(し|を|希望|お願い)|(return|refund) したい"),
        ("price_question",
         r"\b(discount|promo|coupon) codes?\b.{0,40}\b(work|valid|apply|have)\b|\bhow expensive\b"
         r"|(クーポン|割引コード|coupon).{0,12}(使え|あり|ない|効|ある)|(いくら|値段|おいくら).{0,6}(です|する|なの|？|\?)"),
        ("smalltalk",
         r"^(hi|hello|hey|thanks|thank you|good (morning|evening|night)|こんにちは|こんばんは|おはよう(ございます)?"
         r"|ありがとう(ございます)?)[!！.。 ]*$"),
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

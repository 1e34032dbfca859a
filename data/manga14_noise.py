"""What people do to text and to labels: typing errors and annotators who disagree."""

from __future__ import annotations

import random
import re

from contracts.taxonomies import MANGA14_V1

TYPO_SHARE = 0.25  # of the rows; such a row has one or two errors
ANNOTATOR_ACCURACY = 0.93  # two such annotators agree with kappa of about 0.86
THIRD_ANNOTATOR_SHARE = 0.2

# Whom people mistake an intent for: neighbours in meaning, not any other.
CONFUSIONS: dict[str, tuple[str, ...]] = {
    "product_search": ("stock_check", "recommendation_request", "series_info"),
    "recommendation_request": ("product_search", "review_question", "series_info"),
    "order_status": ("shipping_question", "complaint", "return_request"),
    "return_request": ("complaint", "order_status", "escalation"),
    "escalation": ("complaint", "return_request", "account_help"),
    "complaint": ("escalation", "return_request", "order_status"),
    "stock_check": ("product_search", "release_date", "order_status"),
    "price_question": ("shipping_question", "stock_check", "product_search"),
    "series_info": ("review_question", "release_date", "recommendation_request"),
    "release_date": ("stock_check", "series_info", "order_status"),
    "review_question": ("series_info", "recommendation_request", "account_help"),
    "shipping_question": ("order_status", "price_question", "release_date"),
    "account_help": ("escalation", "order_status", "price_question"),
    "smalltalk": ("recommendation_request", "review_question", "complaint"),
}
assert set(CONFUSIONS) == set(MANGA14_V1.labels)

# Another spelling of the same Japanese word, as keyboards and habits differ.
_SPELLINGS = (
    ("ください", "下さい"), ("いつ", "何時"), ("欲しい", "ほしい"), ("できますか", "出来ますか"),
    ("漫画", "マンガ"), ("教えて", "おしえて"), ("届", "とど"), ("面白", "おもしろ"),
    ("在庫", "ざいこ"), ("注文", "ちゅうもん"), ("？", ""), ("。", " "), ("、", " "),
    ("ですか", "でしょうか"), ("すみません", "すいません"), ("買", "か"), ("全部", "ぜんぶ"),
)
_LATIN_WORD = re.compile(r"[A-Za-z]{4,}")


def annotate(label: str, rng: random.Random) -> list[str]:
    """Two annotators' labels, sometimes a third's, each right with `ANNOTATOR_ACCURACY`."""
    count = 3 if rng.random() < THIRD_ANNOTATOR_SHARE else 2
    return [label if rng.random() < ANNOTATOR_ACCURACY else rng.choice(CONFUSIONS[label]) for _ in range(count)]


def mistype(text: str, language: str, rng: random.Random) -> str:
    """The text as typed: mostly as it was."""
    if rng.random() >= TYPO_SHARE:
        return text
    for _ in range(rng.choice((1, 1, 2))):
        japanese = language == "ja" or (language == "mixed" and rng.random() < 0.5)
        text = _respell(text, rng) if japanese else _slip(text, rng)
    return text


def _respell(text: str, rng: random.Random) -> str:
    present = [(a, b) for a, b in _SPELLINGS if a in text]
    if not present:
        return text
    before, after = rng.choice(present)
    return text.replace(before, after, 1)


def _slip(text: str, rng: random.Random) -> str:
    """One slip of the finger inside a word of four letters or more; its first letter stays."""
    words = list(_LATIN_WORD.finditer(text))
    if not words:
        return text
    word = rng.choice(words)
    at = rng.randrange(word.start() + 1, word.end() - 1)
    kind = rng.choice(("swap", "drop", "double"))
    middle = {"swap": text[at + 1] + text[at], "drop": text[at + 1], "double": text[at] * 2 + text[at + 1]}[kind]
    return text[:at] + middle + text[at + 2:]

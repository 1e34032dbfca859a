"""Language of an utterance as the product counts it: `en`, `ja` or `mixed`.

Decided by script, not by a statistical model: the product speaks two languages that share
no script, chat utterances are too short for an n-gram model, and the fabric and every
container must agree to the letter. Latin text inside a Japanese sentence counts as mixed
from two Latin letters on in one run, so "Tシャツ" stays Japanese and "One Pieceの新刊" is mixed.
"""

from __future__ import annotations

import re

LANGUAGES: tuple[str, ...] = ("en", "ja", "mixed")

# Hiragana, katakana (with half-width), CJK ideographs and their extension A, iteration marks.
_JAPANESE = re.compile(r"[\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uff66-\uff9f々〆]")
_LATIN_WORD = re.compile(r"[A-Za-z\u00c0-\u024f\uff21-\uff3a\uff41-\uff5a]{2,}")


def detect_language(text: str) -> str:
    """`ja` without a Latin word, `mixed` with both scripts, otherwise `en`."""
    if not _JAPANESE.search(text):
        return "en"
    return "mixed" if _LATIN_WORD.search(text) else "ja"


def japanese_share(text: str) -> float:
    """Share of the letters that are Japanese, 0 to 1; 0.0 for text without letters."""
    letters = [c for c in text if c.isalpha()]
    if not letters:
        return 0.0
    return sum(1 for c in letters if _JAPANESE.match(c)) / len(letters)

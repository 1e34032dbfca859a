"""The adversarial suite: golden rows changed as people and attackers change them, meaning kept.

Three kinds, as the contract names them: typos, code-switching (the frame of the sentence changes
language, its content stays) and Unicode tricks. Each change is a pure function of the text and a
seeded generator, so a data set always gives the same suite.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from contracts.language import detect_language
from model_code.intent_classifier.rows import Example

MAX_ROWS = 900  # of the suite; a tenth of a point is below its standard error anyway

_NEIGHBOURS = {
    "a": "qs", "b": "vn", "c": "xv", "d": "sf", "e": "wr", "f": "dg", "g": "fh", "h": "gj", "i": "uo", "j": "hk",
    "k": "jl", "l": "k", "m": "n", "n": "bm", "o": "ip", "p": "o", "q": "w", "r": "et", "s": "ad", "t": "ry",
    "u": "yi", "v": "cb", "w": "qe", "x": "zc", "y": "tu", "z": "x",
}
_HOMOGLYPHS = str.maketrans({"a": "а", "e": "е", "o": "о", "c": "с", "p": "р", "x": "х", "i": "і"})  # Cyrillic
_ZERO_WIDTH = "\u200b"
_WORD = re.compile(r"[A-Za-z]{4,}")

_INTO_JAPANESE = (
    (re.compile(r"^(please|can you|could you|i want to|i'd like to|i would like to)\s+", re.I), "すみません、"),
    (re.compile(r"\bplease\b", re.I), "お願いします"), (re.compile(r"\btoday\b", re.I), "今日"),
    (re.compile(r"\btomorrow\b", re.I), "明日"),
    (re.compile(r"\bnow\b", re.I), "今"), (re.compile(r"\border\b", re.I), "注文"),
    (re.compile(r"\bnew\b", re.I), "新しい"), (re.compile(r"\bmanga\b", re.I), "漫画"),
)
_INTO_ENGLISH = (
    ("すみません", "sorry"), ("お願いします", "please"), ("ください", " please"), ("今日", "today"),
    ("明日", "tomorrow"), ("注文", "order"), ("漫画", "manga"), ("マンガ", "manga"), ("新刊", "new volume"),
    ("教えて", "tell me"),
)


def _typo(text: str, rng: random.Random) -> str:
    """One slip in one word in five, at least one: a swap, a drop, a double or a neighbouring key."""
    places = [m for m in _WORD.finditer(text)]
    if not places:
        return _japanese_typo(text, rng)
    chosen = rng.sample(places, max(1, len(places) // 5))
    for match in sorted(chosen, key=lambda m: -m.start()):
        at = rng.randrange(match.start() + 1, match.end() - 1)
        kind = rng.choice(("swap", "drop", "double", "neighbour"))
        if kind == "swap":
            text = text[:at] + text[at + 1] + text[at] + text[at + 2:]
        elif kind == "drop":
            text = text[:at] + text[at + 1:]
        elif kind == "double":
            text = text[:at] + text[at] + text[at:]
        else:
            text = text[:at] + rng.choice(_NEIGHBOURS[text[at].lower()]) + text[at + 1:]
    return text


def _japanese_typo(text: str, rng: random.Random) -> str:
    """Dropped or doubled kana, as flick input makes them; kanji stay, for a lost one is a lost word."""
    kana = [i for i, char in enumerate(text) if "\u3041" <= char <= "\u3096"]
    if not kana:
        return text
    at = rng.choice(kana)
    return text[:at] + text[at + 1:] if rng.random() < 0.5 else text[:at] + text[at] + text[at:]


def _code_switch(text: str, rng: random.Random) -> str:
    if detect_language(text) == "en":
        switched = text
        for pattern, japanese in _INTO_JAPANESE:
            switched = pattern.sub(japanese, switched)
        return switched if switched != text else text + rng.choice(("、お願いします", " ですか？", "、よろしく"))
    switched = text
    for japanese, english in _INTO_ENGLISH:
        switched = switched.replace(japanese, f" {english} ")
    return switched.strip() if switched != text else rng.choice(("hey, ", "please, ", "ok so ")) + text


def _full_width(text: str, _: random.Random) -> str:
    return "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text)


def _zero_width(text: str, rng: random.Random) -> str:
    middle = rng.randrange(1, max(2, len(text)))
    return text[:middle] + _ZERO_WIDTH + text[middle:]


def _homoglyphs(text: str, rng: random.Random) -> str:
    words = text.split(" ")
    at = rng.randrange(len(words))
    words[at] = words[at].translate(_HOMOGLYPHS)
    return " ".join(words)


def _emoji(text: str, rng: random.Random) -> str:
    return text + rng.choice((" 🙏", " 😡", " 📚", "!!!", "❗"))


def _wide_spaces(text: str, _: random.Random) -> str:
    return text.replace(" ", "\u3000")


_TRICKS = (_full_width, _zero_width, _homoglyphs, _emoji, _wide_spaces)


def _unicode_trick(text: str, rng: random.Random) -> str:
    """One trick that shows: full-width letters leave a sentence without Latin letters as it was."""
    changed = [new for trick in _TRICKS if (new := trick(text, rng)) != text]
    return rng.choice(changed)


ATTACKS: dict[str, Callable[[str, random.Random], str]] = {
    "typo": _typo, "code_switching": _code_switch, "unicode": _unicode_trick,
}


def make_suite(golden: Sequence[Example], *, seed: int, max_rows: int = MAX_ROWS) -> list[Example]:
    """One attack a golden row, in turn; a random part of the golden set when it is large.

    Rows are chosen by a generator seeded with `seed` and ordered by id, so that the suite does not
    depend on the order of the data set.
    """
    rows = sorted(golden, key=lambda row: row.id)
    if len(rows) > max_rows:
        rows = sorted(random.Random(seed).sample(rows, max_rows), key=lambda row: row.id)
    names = tuple(ATTACKS)
    suite = []
    for place, row in enumerate(rows):
        attack = names[place % len(names)]
        changed = ATTACKS[attack](row.text, random.Random(f"{seed}:{row.id}"))
        suite.append(replace(row, id=f"{row.id}:{attack}", text=changed, attack=attack))
    return suite

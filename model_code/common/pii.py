"""Personal data is replaced by a placeholder before training and before inference alike.

Both sides redact, so that the model meets the same text in production as in training. An order
number is personal data too, but that there *is* one is evidence for the intent: its placeholder
keeps that. Order matters below: a card number would otherwise be taken for a phone number.
"""

from __future__ import annotations

import re
import unicodedata

EMAIL, CARD, ORDER, PHONE, POSTCODE = "[email]", "[card]", "[order]", "[phone]", "[postcode]"

_EMAIL = re.compile(r"[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,4}")
_CARD = re.compile(r"(?<![\d-])\d(?:[ -]?\d){12,18}(?![\d-])")
# Amazon's form, a number with a check digit, or a prefix of letters with a dash or '#'.
_ORDER = re.compile(
    r"(?<![\d-])(?:\d{3}-\d{7}-\d{7}|\d{5,7}-\d)(?![\d-])|(?<![A-Za-z])(?:[A-Z]{1,4}-|#)\d{5,12}(?!\d)"
)
# Japan: 0 and 9 or 10 digits in groups; elsewhere + and 8 to 14 digits in groups, or 3-3-4.
_PHONE = re.compile(
    r"(?<![\d-])(?:\+\d{1,3}[ -]?(?:\(0\)[ -]?)?\d(?:[ -]?\d){6,12}|0\d{1,4}[- ]\d{1,4}[- ]\d{3,4}|0\d{9,10}"
    r"|\(?\d{3}\)?[ -]\d{3}-\d{4})(?![\d-])"
)
_POSTCODE = re.compile(r"〒 ?\d{3}-?\d{4}")


def _luhn(digits: str) -> bool:
    total = 0
    for place, char in enumerate(reversed(digits)):
        value = int(char) * (2 if place % 2 else 1)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def _card(match: re.Match[str]) -> str:
    digits = re.sub(r"\D", "", match.group())
    return CARD if 13 <= len(digits) <= 19 and _luhn(digits) else match.group()


# Cyrillic and Greek letters that look like Latin ones. The product speaks no language that uses them,
# so they are disguise; and zero-width characters split words that the eye sees whole.
_LOOKALIKES = str.maketrans(dict(zip("аеорсухіјѕАВЕКМНОРСТХαορν", "aeopcyxijsABEKMHOPCTXaopv", strict=True)))
_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060\ufeff]")


def normalise(text: str) -> str:
    """NFKC, so that full-width digits and half-width katakana read as what they are; disguises taken off."""
    return _INVISIBLE.sub("", unicodedata.normalize("NFKC", text)).translate(_LOOKALIKES)


def redact(text: str) -> str:
    """Text with e-mail addresses, cards, order numbers, phones and Japanese postcodes replaced; normalised first."""
    text = normalise(text)
    text = _EMAIL.sub(EMAIL, text)
    text = _ORDER.sub(ORDER, text)
    text = _CARD.sub(_card, text)
    text = _POSTCODE.sub(POSTCODE, text)
    return _PHONE.sub(PHONE, text)

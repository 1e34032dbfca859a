"""The encoder's vocabulary, cut down to the product's two languages, and its tokeniser.

A quarter of a million pieces serve a hundred languages and are 80 % of a small encoder's weights;
leaving out the rows that English and Japanese never use changes no output for them ("Load What You
Need: Smaller Versions of Multilingual BERT", Abdaoui, Pradel and Sigel 2020, arXiv:2010.05609).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection
from functools import cache

import numpy as np
import numpy.typing as npt
from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers, processors
from tokenizers.models import Unigram

from data.e5_format import Vocabulary

SPACE = "\u2581"  # SentencePiece's mark for a word's start
MASK = "<mask>"
# é of Pokémon, ū of the romanised Chūnibyō: foreign letters that English and romanised Japanese use.
_FOREIGN_LATIN = frozenset("àâäæçèéêëîïñóôöûüÀÂÄÆÇÈÉÊËÎÏÑÓÔÖÛÜāēīōūĀĒĪŌŪ")
# Titles are romanised (Naruto, isekai): short runs of Hepburn syllables are Japanese too.
_ROMAJI = re.compile(
    r"n?(?:(?:[kgsztdnhbpmrjfw]|sh|ch|ts|[kgnhbpmr]y|kk|pp|tt|ss|ssh|tch|cch)?(?:[aeiou]|ou|uu)n?)+", re.IGNORECASE)
_ROMAJI_LETTERS = 5  # longer ones are mostly words of other languages
_FULLWIDTH_TILDE, _STAND_IN = "\uff5e", "\ue000"


def keep_pieces(vocabulary: Vocabulary, english: Collection[str]) -> npt.NDArray[np.int64]:
    """Ids of the pieces that English and Japanese text needs, in the old order, special ones included.

    `english` are the Latin-letter pieces that English text was seen to use: by letters alone they
    can't be told from Indonesian or Welsh. A single character of either language is always kept,
    so an unlisted word is spelt out and never lost.
    """
    seen = frozenset(english)
    special = {vocabulary.bos, vocabulary.eos, vocabulary.pad, vocabulary.unk}
    ids = [i for i, piece in enumerate(vocabulary.pieces) if i in special or piece == MASK or _wanted(piece, seen)]
    return np.array(ids, dtype=np.int64)


def _wanted(piece: str, english: frozenset[str]) -> bool:
    characters = piece.replace(SPACE, "")
    if not all(_is_ours(c) for c in characters):
        return False
    latin = any(c.isalpha() and _is_latin(c) for c in characters)
    return not latin or len(characters) == 1 or piece in english or _is_romaji(characters)


def _is_romaji(characters: str) -> bool:
    return len(characters) <= _ROMAJI_LETTERS and _ROMAJI.fullmatch(characters) is not None


def _is_latin(character: str) -> bool:
    return ord(character) < 0x250


@cache
def _is_ours(character: str) -> bool:
    code = ord(character)
    if code < 0x80 or character in _FOREIGN_LATIN:
        return True
    # Kana, their marks, wide and half-width forms.
    if 0x3000 <= code <= 0x30FF or 0x31F0 <= code <= 0x31FF or 0xFF00 <= code <= 0xFFEF:
        return True
    if 0x3400 <= code <= 0x9FFF or 0xF900 <= code <= 0xFAFF or code >= 0x20000:
        return _in_japanese_standard(character)
    # Digits, punctuation, currency signs, emoji and their joiners; combining marks belong to scripts left out.
    return unicodedata.category(character)[0] in "NPSZ" or unicodedata.category(character) == "Cf"


def _in_japanese_standard(character: str) -> bool:
    """Whether Japanese writes this ideograph: JIS X 0213, or what Windows added. Chinese-only ones fail."""
    for codec in ("euc_jis_2004", "cp932"):
        try:
            character.encode(codec)
        except UnicodeEncodeError:
            continue
        return True
    return False


def trim(vocabulary: Vocabulary, ids: npt.NDArray[np.int64]) -> Vocabulary:
    """The vocabulary with only the pieces `ids`, renumbered in their order."""
    new_id = {int(old): new for new, old in enumerate(ids)}
    return Vocabulary(
        pieces=tuple(vocabulary.pieces[i] for i in ids), scores=vocabulary.scores[ids],
        bos=new_id[vocabulary.bos], eos=new_id[vocabulary.eos],
        pad=new_id[vocabulary.pad], unk=new_id[vocabulary.unk],
    )


def build_tokenizer(vocabulary: Vocabulary) -> Tokenizer:
    """A fast tokeniser that splits as XLM-RoBERTa's SentencePiece model does.

    Its map of 4,837 characters is NFKC but for control characters (dropped), invisible spaces
    (become a space) and the full-width tilde (kept), which is what the steps below say.
    """
    pieces = [(piece, float(score)) for piece, score in zip(vocabulary.pieces, vocabulary.scores, strict=True)]
    tokenizer = Tokenizer(Unigram(pieces, unk_id=vocabulary.unk, byte_fallback=False))
    tokenizer.normalizer = normalizers.Sequence([
        normalizers.Replace(Regex("[\\x00-\\x08\\x0b\\x0e-\\x1f\\x7f\\x8f\\x9f]"), ""),
        normalizers.Replace(Regex("[\\t\\n\\f\\r\\u1680\\u200b-\\u200f\\u2028\\u2029\\u2581\\ufeff\\ufffd]"), " "),
        normalizers.Replace(_FULLWIDTH_TILDE, _STAND_IN),
        normalizers.NFKC(),
        normalizers.Replace(_STAND_IN, _FULLWIDTH_TILDE),
    ])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(replacement=SPACE, prepend_scheme="always"),
    ])
    first, last = vocabulary.pieces[vocabulary.bos], vocabulary.pieces[vocabulary.eos]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{first} $A {last}", pair=f"{first} $A {last} {last} $B {last}",
        special_tokens=[(first, vocabulary.bos), (last, vocabulary.eos)],
    )
    tokenizer.add_special_tokens([vocabulary.pieces[i] for i in
                                  (vocabulary.bos, vocabulary.pad, vocabulary.eos, vocabulary.unk)] + [MASK])
    return tokenizer

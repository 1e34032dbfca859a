"""Trimming and tokenising, on a vocabulary small enough to check by eye."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from data.e5_format import Vocabulary
from data.vocabulary import SPACE, build_tokenizer, keep_pieces, trim

ENGLISH = {f"{SPACE}order", f"{SPACE}the", "ing", f"{SPACE}manga"}
PIECES = (
    "<s>", "<pad>", "</s>", "<unk>", SPACE, *"abcdefghijklmnopqrstuvwxyz", *ENGLISH,
    f"{SPACE}Bestellung", f"{SPACE}заказ",
    "з", "주문", "สั่ง", "طلب", "漫", "画", "漫画", "们", "这个",
    "ワンピース", *"ワンピース", "いつ", *"いつ発売", "発売", "、", "?", "12", "é",
    f"{SPACE}naru", "～", "😂", "<mask>",
)
DROPPED = {f"{SPACE}Bestellung", f"{SPACE}заказ", "з", "주문", "สั่ง", "طلب", "们", "这个"}


def _vocabulary() -> Vocabulary:
    pieces = tuple(dict.fromkeys(PIECES))
    scores = np.array([0.0] * 4 + [-12.0 + 2 * min(len(p), 5) for p in pieces[4:]], dtype=np.float32)
    return Vocabulary(pieces=pieces, scores=scores, bos=0, eos=2, pad=1, unk=3)


@pytest.fixture(scope="module")
def before() -> Tokenizer:
    return build_tokenizer(_vocabulary())


@pytest.fixture(scope="module")
def after() -> Tokenizer:
    full = _vocabulary()
    return build_tokenizer(trim(full, keep_pieces(full, ENGLISH)))


def test_trimming_drops_other_languages_and_nothing_else() -> None:
    full = _vocabulary()
    kept = {full.pieces[i] for i in keep_pieces(full, ENGLISH)}
    assert set(full.pieces) - kept == DROPPED


def test_a_trimmed_vocabulary_keeps_scores_and_special_ids_with_their_pieces() -> None:
    full = _vocabulary()
    small = trim(full, keep_pieces(full, ENGLISH))
    score = dict(zip(full.pieces, full.scores, strict=True))
    assert [score[p] for p in small.pieces] == list(small.scores)
    assert [small.pieces[i] for i in (small.bos, small.pad, small.eos, small.unk)] == ["<s>", "<pad>", "</s>", "<unk>"]


@pytest.mark.parametrize("text", [
    "the manga ordering", "ワンピース、いつ発売?",
    "the ワンピース いつ?", "ＯＲＤＥＲ".lower(), "ﾜﾝﾋﾟｰｽ", "naruto～", "漫画 12 😂", "café", "",
])
def test_english_japanese_and_mixed_text_is_split_as_before(before: Tokenizer, after: Tokenizer, text: str) -> None:
    assert after.encode(text).tokens == before.encode(text).tokens


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="abcmnorgiduethé ワンピース漫画いつ発売、?12～😂", max_size=30))
def test_any_text_of_kept_single_characters_and_japanese_pieces_is_split_as_before(text: str) -> None:
    full = _vocabulary()
    one, two = build_tokenizer(full), build_tokenizer(trim(full, keep_pieces(full, ENGLISH)))
    assert two.encode(text).tokens == one.encode(text).tokens


@pytest.mark.parametrize("text", ["заказ", "주문", "สั่ง", "طلب", "这个", "\U0001f9ff", "\ud7ff", "\x00"])
def test_a_foreign_language_becomes_unknown_and_never_an_error(after: Tokenizer, text: str) -> None:
    encoded = after.encode(text)
    known = {0, 2, 3, after.token_to_id(SPACE)}
    assert set(encoded.ids) <= known


def test_full_and_half_width_letters_read_as_plain_ones(after: Tokenizer) -> None:
    assert after.encode("ｏｒｄｅｒ　１２").tokens == after.encode("order 12").tokens
    assert after.encode("ﾜﾝﾋﾟｰｽ").tokens == after.encode("ワンピース").tokens


def test_control_characters_vanish_and_invisible_spaces_separate(after: Tokenizer) -> None:
    assert after.encode("or\x01der").tokens == after.encode("order").tokens
    assert after.encode("the\u200border\n").tokens == after.encode("the order").tokens


def test_the_full_width_tilde_stays_itself(after: Tokenizer) -> None:
    assert "～" in after.encode("a～").tokens


def test_a_text_begins_and_ends_with_the_models_marks(after: Tokenizer) -> None:
    assert after.encode("the order").tokens == ["<s>", f"{SPACE}the", f"{SPACE}order", "</s>"]
    assert after.encode("the", "order").tokens == ["<s>", f"{SPACE}the", "</s>", "</s>", f"{SPACE}order", "</s>"]

"""A polling loop is written once, with its count; nothing else is left out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demo.passages import in_words, passages


@pytest.mark.parametrize(("states", "words"), [
    ("", ""),
    ("AB", "A → B"),
    ("AAB", "A ×2 → B"),
    ("AWLWLWLB", "A → (W → L) ×3 → B"),
    ("AWDSWDSB", "A → (W → D → S) ×2 → B"),
    ("ABCA", "A → B → C → A"),
])
def test_what_comes_again_at_once_is_counted(states: str, words: str) -> None:
    assert in_words(list(states)) == words


@given(st.lists(st.sampled_from("ABC"), max_size=40))
def test_no_state_is_lost_and_none_moves(states: list[str]) -> None:
    assert [state for loop, times in passages(states) for state in loop * times] == states

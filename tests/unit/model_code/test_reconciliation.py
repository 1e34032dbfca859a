"""One label out of many votes: each rule by hand, and any order of votes gives the same decisions."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_code.platform.reconciliation import Decision, Vote, reconcile

RELIABLE = {("north", "en"): 0.9, ("south", "en"): 0.8, ("west", "en"): 0.86}


def votes(*said: str) -> list[Vote]:
    """`"north/ann=a"`: vendor, annotator, label; `!` behind it makes an adjudicator, `@2` a revision."""
    made = []
    for text in said:
        who, _, rest = text.partition("=")
        vendor, _, annotator = who.partition("/")
        label, _, revision = rest.rstrip("!").partition("@")
        made.append(Vote(item="i", vendor=vendor, annotator=annotator, label=label, language="en",
                         revision=int(revision or 0), adjudicator=text.endswith("!")))
    return made


def decide(*said: str, reliable: bool = False) -> tuple[str | None, str]:
    [decision] = reconcile(votes(*said), reliability=RELIABLE if reliable else None)
    return decision.label, decision.reason


@pytest.mark.parametrize(("said", "label", "reason"), [
    (["north/1=a", "south/1=a", "boss/1=b!"], "b", "adjudicated"),
    (["boss/1=b!", "boss/2=a!", "north/1=a"], None, "adjudicators_differ"),
    (["north/1=a", "south/1=a"], "a", "unanimous"),
    (["north/1=a"], "a", "single_vendor"),
    (["north/1=a", "north/2=a", "north/3=b"], "a", "single_vendor"),
    (["north/1=a", "north/2=b"], None, "vendor_split"),
    (["north/1=a", "south/1=b", "west/1=a"], "a", "vendor_majority"),
    # many annotators of one vendor don't outvote two vendors
    (["north/1=b", "north/2=b", "north/3=b", "north/4=b", "south/1=a", "west/1=a"], "a", "vendor_majority"),
    (["north/1=a", "north/2=a", "south/1=b"], "a", "annotator_majority"),
    (["north/1=a", "north/2=b", "south/1=b"], "b", "annotator_majority"),  # a split vendor has no voice
    (["north/1=a", "south/1=b"], None, "unresolved"),
    (["north/1=a@1", "north/1=b@2", "south/1=b"], "b", "unanimous"),
    (["north/1=a@1", "north/1=b@1", "south/1=b"], "b", "single_vendor"),
    (["north/1=a@1", "north/1=b@1"], None, "all_votes_withdrawn"),
])
def test_the_first_rule_that_applies_decides(said: list[str], label: str | None, reason: str) -> None:
    assert decide(*said) == (label, reason)


def test_a_vendor_that_was_right_more_often_decides_between_two() -> None:
    assert decide("north/1=a", "south/1=b", reliable=True) == ("a", "reliable_vendor")
    assert decide("north/1=a", "west/1=b", reliable=True) == (None, "unresolved")  # a lead of .04 is none
    assert decide("north/1=a", "new/1=b", reliable=True) == (None, "unresolved")  # never measured


def test_a_decision_explains_itself() -> None:
    [decision] = reconcile(votes("south/1=b", "north/1=a"))
    assert decision.explain() == "i: quarantined by rule unresolved (north/1 said a, south/1 said b)"


def test_votes_in_two_languages_on_one_item_are_refused() -> None:
    said = [Vote(item="i", vendor="v", annotator=str(n), label="a", language=language)
            for n, language in enumerate(("en", "ja"))]
    with pytest.raises(ValueError, match="'i': votes name the languages en, ja"):
        reconcile(said)


VOTE = st.builds(Vote, item=st.sampled_from(["1", "2", "3"]), vendor=st.sampled_from(["north", "south", "west"]),
                 annotator=st.sampled_from("xy"), label=st.sampled_from("abc"), language=st.just("en"),
                 revision=st.integers(0, 2), adjudicator=st.sampled_from([False] * 5 + [True]))


@settings(max_examples=120, deadline=None)
@given(st.lists(VOTE, max_size=25), st.randoms(use_true_random=False), st.booleans())
def test_decisions_do_not_depend_on_the_order_of_votes(said: list[Vote], rng: random.Random, measured: bool) -> None:
    shuffled = list(said)
    rng.shuffle(shuffled)
    reliability = RELIABLE if measured else None
    first: list[Decision] = reconcile(said, reliability=reliability)
    assert reconcile(shuffled + shuffled[:3], reliability=reliability) == first  # nor on a vote told twice
    assert [d.item for d in first] == sorted({v.item for v in said})
    for decision in first:
        assert decision.label is None or decision.label in {label for _, label in decision.votes}

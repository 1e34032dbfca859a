"""The chain names what was done to it: one fault at a time by hand, then any faults at all."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.audit_chain import (
    AuditChainError,
    Checkpoint,
    Head,
    SignedCheckpoint,
    canonical,
    genesis,
    line,
    seal,
)
from contracts.audit_verifier import (
    DROPPED,
    FORGED_CHECKPOINT,
    REORDERED,
    REPEATED,
    REWRITTEN,
    TAMPERED,
    TRUNCATED,
    Finding,
    verify,
)

CHAIN = "intent-classifier"
KEY = ec.generate_private_key(ec.SECP256R1())
_ECDSA = ec.ECDSA(Prehashed(hashes.SHA256()))


def is_signed(digest: bytes, signature: bytes) -> bool:
    try:
        KEY.public_key().verify(signature, digest, _ECDSA)
    except InvalidSignature:
        return False
    return True


def record(number: int) -> dict[str, object]:
    return {"story": CHAIN, "id": f"run-{number}#Promoted", "detail": f"{{\"version\": {number}, \"名\": \"前\"}}"}


def chain(count: int, *, start: Head | None = None, change: int = 0) -> tuple[list[bytes], list[Head]]:
    """Lines of `count` records, and the head after each; `change` makes that record another one."""
    head = start or Head.of_empty(CHAIN)
    lines, heads = [], [head]
    for number in range(1, count + 1):
        content = {**record(number), "changed": True} if number == change else record(number)
        link = seal(content, head)
        lines.append(line(link, content))
        head = link.head
        heads.append(head)
    return lines, heads


def signed(head: Head) -> SignedCheckpoint:
    point = Checkpoint.of(head, at="2026-11-28T00:00:00+00:00")
    return SignedCheckpoint(checkpoint=point, signature=KEY.sign(point.digest(), _ECDSA))


LINES, HEADS = chain(30)
SIGNED = [signed(HEADS[10]), signed(HEADS[30])]


def findings(lines: list[bytes], checkpoints: list[SignedCheckpoint] | None = None) -> list[tuple[str, int, int]]:
    points = SIGNED if checkpoints is None else checkpoints
    return [(f.kind, f.first, f.last) for f in verify(CHAIN, lines, points, is_signed=is_signed).findings]


def test_a_whole_chain_is_intact_and_says_how_far_it_is_signed() -> None:
    verdict = verify(CHAIN, iter(LINES), SIGNED[:1], is_signed=is_signed)
    assert verdict.intact
    assert (verdict.records, verdict.signed_to) == (30, 10)


def test_an_empty_chain_is_intact_until_a_checkpoint_counts_records() -> None:
    assert findings([], []) == []
    assert findings([]) == [(TRUNCATED, 1, 30)]


def test_the_same_record_in_another_order_of_keys_has_the_same_line() -> None:
    backwards = dict(reversed(record(1).items()))
    assert canonical(backwards) == canonical(record(1))
    assert seal(backwards, HEADS[0]) == seal(record(1), HEADS[0])


@pytest.mark.parametrize("number", [1, 10, 17, 30])
@pytest.mark.parametrize("place", [0, 64, 66, 77, 90, -3])
def test_a_changed_byte_names_its_record_wherever_it_is(number: int, place: int) -> None:
    lines = list(LINES)
    damaged = bytearray(lines[number - 1])
    damaged[place] = ord("0") if damaged[place] != ord("0") else ord("1")
    lines[number - 1] = bytes(damaged)
    assert TAMPERED in {kind for kind, first, _ in findings(lines) if first == number}


def test_a_record_that_was_changed_and_hashed_anew_does_not_fit_its_successor() -> None:
    content = {**record(7), "detail": "{}"}
    lines = [*LINES[:6], line(seal(content, HEADS[6]), content), *LINES[7:]]
    assert findings(lines) == [(REWRITTEN, 7, 7)]


def test_a_chain_rewritten_to_its_end_contradicts_the_signed_heads() -> None:
    lines, _ = chain(30, change=17)
    assert findings(lines) == [(REWRITTEN, 11, 30)]
    assert findings(lines, SIGNED[:1]) == []  # what nobody signed yet can't be told


def test_dropped_records_are_named_as_a_range() -> None:
    assert findings([*LINES[:4], *LINES[5:11], *LINES[14:]]) == [(DROPPED, 5, 5), (DROPPED, 12, 14)]
    assert findings(LINES[1:]) == [(DROPPED, 1, 1)]


def test_two_neighbours_that_changed_places_are_one_moved_record() -> None:
    assert findings([*LINES[:4], LINES[5], LINES[4], *LINES[6:]]) == [(REORDERED, 6, 6)]
    assert findings([*LINES[:28], LINES[29], LINES[28]]) == [(REORDERED, 30, 30)]


def test_two_records_far_apart_that_changed_places_are_both_named() -> None:
    lines = list(LINES)
    lines[3], lines[19] = lines[19], lines[3]
    assert findings(lines) == [(REORDERED, 4, 4), (REORDERED, 20, 20)]


def test_a_record_that_comes_twice_is_named() -> None:
    assert findings([*LINES[:9], LINES[2], *LINES[9:]]) == [(REPEATED, 3, 3)]


def test_a_moved_record_that_was_also_changed_is_both() -> None:
    content = {**record(5), "detail": "{}"}
    lines = [*LINES[:4], *LINES[5:20], line(seal(content, HEADS[4]), content), *LINES[20:]]
    assert (REWRITTEN, 5, 5) in findings(lines)


def test_records_cut_off_at_the_end_are_missed_by_the_signed_head_only() -> None:
    assert findings(LINES[:25]) == [(TRUNCATED, 26, 30)]
    assert findings(LINES[:25], SIGNED[:1]) == []


def test_a_line_of_another_chain_does_not_begin_this_one() -> None:
    lines, _ = chain(3, start=Head.of_empty("other"))
    assert (REWRITTEN, 1, 1) in findings(lines, [])


def test_a_checkpoint_that_is_not_ours_is_a_finding_and_is_not_relied_on() -> None:
    forged = replace(SIGNED[1], checkpoint=replace(SIGNED[1].checkpoint, sequence=40, count=40))
    of_another = signed(Head(chain="other", sequence=30, hash=HEADS[30].hash))
    assert findings(LINES, [forged, of_another]) == [(FORGED_CHECKPOINT, 30, 30), (FORGED_CHECKPOINT, 40, 40)]


def test_a_checkpoint_survives_its_file_and_refuses_another_one() -> None:
    assert SignedCheckpoint.from_json(SIGNED[0].to_json()) == SIGNED[0]
    for text in (b"", b"[]", b'{"checkpoint": {}, "signature": ""}',
                 SIGNED[0].to_json().replace(b'"count":10', b'"count":9')):
        with pytest.raises(AuditChainError, match="checkpoint"):
            SignedCheckpoint.from_json(text)


def test_a_finding_reads_as_a_sentence() -> None:
    assert str(Finding(first=3, last=5, kind=DROPPED, detail="missing")) == "records 3 to 5: dropped: missing"


def test_a_chain_has_an_end() -> None:
    with pytest.raises(AuditChainError, match="at most 999999999999 records"):
        seal(record(1), Head(chain=CHAIN, sequence=10**12 - 1, hash=genesis(CHAIN)))


@settings(max_examples=200, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(1, 6))
def test_whatever_is_done_to_the_lines_is_found(rng: random.Random, faults: int) -> None:
    """Edits, drops, moves, copies and cuts in any mixture: intact is said of the untouched chain only."""
    lines = list(LINES)
    for _ in range(faults):
        place = rng.randrange(len(lines))
        match rng.randrange(5):
            case 0:
                damaged = bytearray(lines[place])
                damaged[rng.randrange(len(damaged) - 1)] ^= 1 << rng.randrange(7)
                lines[place] = bytes(damaged).replace(b"\n", b"") + b"\n"
            case 1 if len(lines) > 1:
                del lines[place]
            case 2:
                lines.insert(rng.randrange(len(lines)), lines.pop(place))
            case 3:
                lines.insert(rng.randrange(len(lines)), lines[place])
            case _:
                del lines[max(1, place):]
    found = findings(lines)
    assert bool(found) == (lines != LINES)
    missing = set(LINES) - set(lines)
    named = {number for _, first, last in found for number in range(first, last + 1)}
    assert {LINES.index(gone) + 1 for gone in missing} <= named


@settings(max_examples=100, deadline=None)
@given(st.permutations(range(30)))
def test_every_order_but_the_right_one_is_found_and_loses_no_record(order: list[int]) -> None:
    found = findings([LINES[i] for i in order])
    assert {kind for kind, _, _ in found} == (set() if order == sorted(order) else {REORDERED})

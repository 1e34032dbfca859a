"""A promotion while threads ask: nobody gets the old version once the bound has passed, and what is new is cached.

`bound_s` is short here, so that the test is. The endpoint moves before the pointer does, as in a release, so an old
answer after the promotion can only come from the cache.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from fabric import Fabric
from tests.support.embedded import eventually
from tests.support.inference import Aws, Valkey, fabric_of, serving_of

BOUND_S = 2.0
FALLBACK = "None"  # its version: on a starved machine an answer may be late, which is not stale
QUESTIONS = [f"question {i}" for i in range(5)]
Seen = tuple[float, float, str, bool]  # asked at, answered at, version, cached


@contextmanager
def load(fabrics: list[Fabric], question: Callable[[int], str]) -> Iterator[list[Seen]]:
    """Two threads for each fabric; each fabric stands for one process of the chatbot."""
    seen: list[Seen] = []
    over = threading.Event()

    def ask(fabric: Fabric) -> None:
        number = 0
        while not over.is_set():
            asked = time.monotonic()
            answer = fabric.answer(question(number))
            seen.append((asked, time.monotonic(), str(answer["model_version"]), answer["cached"]))
            number += 1
            time.sleep(0.003)

    threads = [threading.Thread(target=ask, args=(f,), daemon=True) for f in fabrics for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        yield seen
    finally:
        over.set()
        for thread in threads:
            thread.join(10)


def repeated(number: int) -> str:
    return QUESTIONS[number % len(QUESTIONS)]


def with_misses(number: int) -> str:
    return f"new {time.monotonic_ns()}" if number % 10 == 9 else repeated(number)


def test_without_a_promotion_the_load_is_answered_from_the_cache(aws: Aws, valkey: Valkey) -> None:
    with fabric_of(aws, valkey.cache()) as fabric, load([fabric], repeated) as seen:
        eventually(lambda: sum(cached for *_, cached in seen) > 20)
    assert len(aws.asked) < 3 * len(QUESTIONS)


@pytest.mark.parametrize("question", [repeated, with_misses])
def test_no_answer_of_the_old_version_comes_after_the_bound(
        aws: Aws, valkey: Valkey, question: Callable[[int], str]) -> None:
    fabrics = [fabric_of(aws, valkey.cache(), serving=serving_of(aws, bound_s=BOUND_S)) for _ in range(2)]
    with load(fabrics, question) as seen:
        eventually(lambda: sum(cached for *_, cached in seen) > 20)
        aws.promote("8")
        promoted = time.monotonic()
        eventually(lambda: sum(version == "8" and cached for _, _, version, cached in seen) > 20)
        time.sleep(max(0.0, promoted + 1.25 * BOUND_S - time.monotonic()))
    for fabric in fabrics:
        fabric.close()
    late = [at - promoted for asked, at, version, _ in seen if version == "7" and asked > promoted + BOUND_S]
    assert late == []
    assert {version for asked, _, version, _ in seen if asked > promoted + BOUND_S} - {FALLBACK} == {"8"}


def test_a_pointer_that_can_not_be_read_ends_the_hits_within_the_bound(aws: Aws, valkey: Valkey) -> None:
    """The worst case: the pointer moves while nobody can read it. The endpoint is asked, which says 8."""
    with fabric_of(aws, valkey.cache(), serving=serving_of(aws, bound_s=BOUND_S)) as fabric:
        with load([fabric], repeated) as seen:
            eventually(lambda: sum(cached for *_, cached in seen) > 20)
            aws.down = {"GetItem"}
            aws.promote("8")
            promoted = time.monotonic()
            eventually(lambda: sum(asked > promoted + BOUND_S for asked, *_ in seen) > 5)
        after = [(version, cached) for asked, _, version, cached in seen if asked > promoted + BOUND_S]
        assert set(after) - {(FALLBACK, False)} == {("8", False)}
        aws.down = set()
        eventually(lambda: fabric.answer(QUESTIONS[0])["cached"])


def test_one_answer_of_another_version_ends_the_hits_at_once(aws: Aws, valkey: Valkey) -> None:
    with fabric_of(aws, valkey.cache(), serving=serving_of(aws, bound_s=60)) as fabric:
        assert [fabric.answer("a")["cached"] for _ in range(2)] == [False, True]
        aws.down = {"GetItem"}
        aws.promote("8")
        assert fabric.answer("a")["model_version"] == "7", "nobody has told this client, and its bound holds"
        assert fabric.answer("b")["model_version"] == "8"
        assert fabric.answer("a")["model_version"] == "8"


def test_a_canary_does_not_end_the_hits_of_the_champion(aws: Aws, valkey: Valkey) -> None:
    with fabric_of(aws, valkey.cache(), serving=serving_of(aws, bound_s=60)) as fabric:
        fabric.answer("a")
        aws.candidate = "8"
        for i in range(4):
            fabric.answer(f"canary {i}")
        eventually(lambda: fabric.answer("a")["cached"])  # the pointer was read again and still names 7
        fabric.answer("canary again")
        fabric.answer("and again")
        assert fabric.answer("a")["cached"]
        assert fabric.answer("a")["model_version"] == "7"


def test_what_one_process_learns_another_knows_with_its_next_question(aws: Aws, valkey: Valkey) -> None:
    slow = fabric_of(aws, valkey.cache(), serving=serving_of(aws, bound_s=60))
    slow.answer("a")
    assert slow.answer("a")["cached"]
    aws.promote("8")
    with fabric_of(aws, valkey.cache()) as informed:
        informed.answer("b")
    assert slow.answer("a")["model_version"] == "8"
    slow.close()


def test_a_roll_back_finds_the_old_answers_again(aws: Aws, valkey: Valkey) -> None:
    with fabric_of(aws, valkey.cache(), serving=serving_of(aws, bound_s=0.5)) as fabric:
        fabric.answer("a")
        aws.promote("8")
        eventually(lambda: fabric.answer("a")["model_version"] == "8")
        aws.promote("7")  # also a roll-back writes the pointer under a higher token
        eventually(lambda: (found := fabric.answer("a"))["model_version"] == "7" and found["cached"])
    assert fabric.capture_failures == 0

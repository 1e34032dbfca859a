"""Keys, values and the epoch, on a real Valkey server: what is in the cache is never believed unseen."""

from __future__ import annotations

import json
import pickle
import time
from typing import Any

import pytest
import redis

from contracts.inference import normalised
from contracts.inference_cache import ACCESS
from fabric.cache import InferenceCache, client
from fabric.sealing import MAX_VALUE_BYTES, Sealer
from fabric.serving_version import Pointer
from tests.support.inference import SECRET, STORY, Valkey

SEALER = Sealer(SECRET)
POINTER = Pointer(version="7", token=7, known_good=frozenset({"7"}), read_at=0.0)
NEXT = Pointer(version="8", token=8, known_good=frozenset({"7", "8"}), read_at=0.0)
ANSWER: dict[str, Any] = {"request_id": "r", "story": STORY, "model_version": "7", "language": "en",
                          "intent": "order_status", "confidence": 0.9, "source": "model", "features": {"chars": 5}}
KEPT = {name: value for name, value in ANSWER.items() if name != "request_id"}


def key_of(text: str, version: str = "7", **upstream: str) -> str:
    return SEALER.key(story=STORY, model_version=version, upstream=upstream, text=text)


# --- keys ---------------------------------------------------------------------------------


def test_a_key_differs_by_version_upstream_and_text_and_by_nothing_else() -> None:
    keys = [key_of("a"), key_of("b"), key_of("a", "8"), key_of("a", intent="1"), key_of("a", intent="2"),
            key_of("a", spam="1"), Sealer(b"f" * 32).key(story=STORY, model_version="7", upstream={}, text="a")]
    assert len(set(keys)) == len(keys)
    assert key_of("a", x="1", y="2") == key_of("a", y="2", x="1")
    assert key_of("  where\tis　it ") == key_of("where is it")
    assert key_of("\u304c") == key_of("\u304b\u3099")  # one kana, composed and decomposed


def test_parts_of_a_key_can_not_run_into_each_other() -> None:
    assert SEALER.key(story="ab", model_version="c", upstream={}, text="d").split(":")[1] != \
        SEALER.key(story="a", model_version="bc", upstream={}, text="d").split(":")[1]


def test_what_could_change_an_answer_is_not_normalised() -> None:
    assert len({key_of(text) for text in ("A", "a", "Ａ", "a?", "a？")}) == 5
    assert normalised(" One  Piece\n") == "One Piece"


def test_a_key_shows_no_text_and_a_short_secret_is_refused() -> None:
    assert "parcel" not in key_of("parcel")
    with pytest.raises(ValueError, match="32 bytes or more, got 5"):
        Sealer(b"short")


# --- values -------------------------------------------------------------------------------


def test_an_answer_is_found_again_without_its_request_id_and_goes_after_its_time(valkey: Valkey) -> None:
    cache = valkey.cache()
    cache.store("where is  it", ANSWER, POINTER, upstream={})
    assert cache.look_up("where is it", POINTER, upstream={}).answer == KEPT
    assert 0 < valkey.raw.ttl(key_of("where is it")) <= 60
    assert cache.look_up("where is it", NEXT, upstream={}).answer is None
    dump = b"".join(key + (valkey.raw.get(key) or b"") for key in valkey.raw.scan_iter())
    assert b"where" not in dump


def test_an_answer_of_a_version_that_the_pointer_does_not_name_is_not_kept(valkey: Valkey) -> None:
    valkey.cache().store("a", {**ANSWER, "model_version": "8"}, POINTER, upstream={})
    assert valkey.raw.dbsize() == 0


@pytest.mark.parametrize("value", [
    b"x", b"\x80", pickle.dumps(KEPT), json.dumps(KEPT).encode(), SEALER.seal(key_of("a"), KEPT)[:-1],
    SEALER.seal(key_of("b"), KEPT), Sealer(b"f" * 32).seal(key_of("a"), KEPT),
    SEALER.seal(key_of("a"), {**KEPT, "model_version": "6"}), SEALER.seal(key_of("a"), {**KEPT, "story": "spam"}),
    b"1" + b"x" * 10 * MAX_VALUE_BYTES, SEALER.seal(key_of("a"), {**KEPT, "pad": "x" * MAX_VALUE_BYTES}),
], ids=["byte", "not utf-8", "pickle", "unsealed", "cut", "of another key", "of another secret", "of another version",
        "of another story", "huge", "sealed but huge"])
def test_a_value_that_can_not_be_trusted_is_no_answer_and_is_counted(valkey: Valkey, value: bytes) -> None:
    valkey.raw.set(key_of("a"), value)
    found = valkey.cache().look_up("a", POINTER, upstream={})
    assert (found.answer, found.asked, found.failed) == (None, True, True)


def test_a_key_of_another_type_is_no_answer_and_does_not_close_the_cache(valkey: Valkey) -> None:
    cache = valkey.cache()
    valkey.raw.lpush(key_of("a"), "x")
    assert all(cache.look_up("a", POINTER, upstream={}).failed for _ in range(5))
    cache.store("b", ANSWER, POINTER, upstream={})
    assert cache.look_up("b", POINTER, upstream={}).answer == KEPT


def test_an_answer_too_large_is_not_kept(valkey: Valkey) -> None:
    valkey.cache().store("a", {**ANSWER, "features": {"pad": "x" * MAX_VALUE_BYTES}}, POINTER, upstream={})
    assert valkey.raw.dbsize() == 0


# --- the epoch ------------------------------------------------------------------------------


def test_what_one_client_knows_of_the_pointer_ends_the_hits_of_all(valkey: Valkey) -> None:
    old, new = valkey.cache(), valkey.cache()
    old.store("a", ANSWER, POINTER, upstream={})
    assert old.look_up("a", POINTER, upstream={}).answer == KEPT
    new.look_up("b", NEXT, upstream={})  # any question of a client that has read the new pointer
    found = old.look_up("a", POINTER, upstream={})
    assert (found.answer, found.outdated) == (None, True)


def test_an_older_pointer_never_lowers_the_epoch(valkey: Valkey) -> None:
    valkey.cache().look_up("a", NEXT, upstream={})
    before = valkey.raw.get(f"{STORY}:epoch")
    valkey.cache()._announce(POINTER)
    assert valkey.raw.get(f"{STORY}:epoch") == before
    assert 0 < valkey.raw.ttl(f"{STORY}:epoch") <= 60


@pytest.mark.parametrize("epoch", [b"", b"99999999999999999999", b"99999999999999999999forged", b"\xff" * 64])
def test_an_epoch_that_nobody_sealed_is_passed_over(valkey: Valkey, epoch: bytes) -> None:
    cache = valkey.cache()
    cache.store("a", ANSWER, POINTER, upstream={})
    valkey.raw.set(f"{STORY}:epoch", epoch)
    assert cache.look_up("a", POINTER, upstream={}).answer == KEPT


def test_the_fabrics_commands_are_all_that_its_user_may_send(valkey: Valkey) -> None:
    valkey.raw.execute_command("ACL", "SETUSER", "fabric", *ACCESS.split(), "nopass")
    credentials = redis.UsernamePasswordCredentialProvider("fabric", "any")
    server = client("127.0.0.1", port=valkey.port, timeout_s=1, tls=False, credentials=credentials)
    cache = InferenceCache(server, story=STORY, secret=SECRET, ttl_s=60)
    cache.store("a", ANSWER, POINTER, upstream={})
    assert cache.look_up("a", POINTER, upstream={}).answer == KEPT
    assert valkey.raw.exists(f"{STORY}:epoch")
    with pytest.raises(redis.exceptions.NoPermissionError):
        server.flushall()


# --- a server that is down ------------------------------------------------------------------


def test_a_dead_cache_costs_nothing_after_its_first_failures_and_comes_back(valkey: Valkey) -> None:
    cache = valkey.cache()
    valkey.kill()
    try:
        assert [cache.look_up("a", POINTER, upstream={}).failed for _ in range(5)] == [True] * 3 + [False] * 2
    finally:
        valkey.start()
    time.sleep(0.55)  # the first pause
    cache.look_up("a", POINTER, upstream={})
    cache.store("a", ANSWER, POINTER, upstream={})
    assert cache.look_up("a", POINTER, upstream={}).answer == KEPT


def test_a_cache_that_hangs_is_waited_for_as_long_as_told_and_no_longer(valkey: Valkey) -> None:
    cache = valkey.cache(timeout_s=0.05)
    cache.look_up("a", POINTER, upstream={})
    with valkey.halted():
        started = time.monotonic()
        found = [cache.look_up("a", POINTER, upstream={}) for _ in range(50)]
        seconds = time.monotonic() - started
    assert [f.failed for f in found] == [True] * 3 + [False] * 47
    assert seconds < 50 * 0.05  # three waits and not fifty

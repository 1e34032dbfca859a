"""Only the holder of the secret, only now, only this body."""

from __future__ import annotations

import pytest

from contracts.vendor_callback import CallbackRefused, check, sign

SECRET, BODY, NOW = b"s" * 32, b'{"votes": []}', 1_800_000_000
GOOD = {"vendor": "hakushi", "timestamp": str(NOW), "body": BODY, "now": NOW + 1.5,
        "signature": sign(SECRET, vendor="hakushi", timestamp=NOW, body=BODY)}


def test_a_signed_body_names_its_batch_and_a_replay_is_the_same_batch() -> None:
    assert check(SECRET, **GOOD) == check(SECRET, **{**GOOD, "now": NOW + 299})
    assert check(SECRET, **GOOD).startswith("hakushi-")


@pytest.mark.parametrize(("change", "says"), [
    ({"vendor": "northgate"}, "not a signature"),
    ({"body": BODY + b" "}, "not a signature"), ({"signature": "0" * 64}, "not a signature"),
    ({"signature": ""}, "not a signature"), ({"signature": "\ud800"}, "not a signature"),
    ({"timestamp": str(NOW + 1)}, "not a signature"), ({"timestamp": "soon"}, "whole seconds"),
    ({"timestamp": "-5"}, "whole seconds"), ({"timestamp": "9" * 4_400}, "whole seconds"),
    ({"now": NOW + 301}, "more than 300 s"), ({"now": NOW - 301}, "more than 300 s"),
])
def test_anything_else_is_refused_and_says_which_check_failed(change: dict[str, object], says: str) -> None:
    with pytest.raises(CallbackRefused, match=says):
        check(SECRET, **{**GOOD, **change})  # type: ignore[arg-type]


def test_another_secret_and_a_short_one_are_refused() -> None:
    with pytest.raises(CallbackRefused, match="not a signature"):
        check(b"t" * 32, **GOOD)
    with pytest.raises(ValueError, match="at least 32 bytes, got 5"):
        sign(b"short", vendor="hakushi", timestamp=NOW, body=BODY)

"""How a vendor signs what it sends, and how that is checked: HMAC-SHA256 over the moment and the body.

Headers: `x-mangaassist-timestamp` (seconds since 1970, UTC) and `x-mangaassist-signature` (hex). An old or future
moment is refused, so what was overheard is useless after `WINDOW_S`; within it a repeated body is the same batch,
because a batch is named after its bytes.
"""

from __future__ import annotations

import hashlib
import hmac

TIMESTAMP_HEADER, SIGNATURE_HEADER = "x-mangaassist-timestamp", "x-mangaassist-signature"
WINDOW_S = 300
MIN_SECRET_BYTES = 32


class CallbackRefused(ValueError):
    """The message says which check failed, never what was expected."""


def sign(secret: bytes, *, timestamp: int, body: bytes) -> str:
    """Hex signature. ValueError for a secret that could be guessed."""
    if len(secret) < MIN_SECRET_BYTES:
        raise ValueError(f"the secret must have at least {MIN_SECRET_BYTES} bytes, got {len(secret)}")
    return hmac.new(secret, b"%d." % timestamp + body, hashlib.sha256).hexdigest()


def check(secret: bytes, *, timestamp: str, signature: str, body: bytes, now: float) -> str:
    """The batch id of a body that the holder of the secret sent just now; CallbackRefused otherwise."""
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12):
        raise CallbackRefused(f"{TIMESTAMP_HEADER} must be whole seconds since 1970")
    # The signature first: a stranger learns nothing about our clock.
    expected = sign(secret, timestamp=int(timestamp), body=body)
    if not hmac.compare_digest(expected.encode(), signature.encode("utf-8", "surrogatepass")):
        raise CallbackRefused(f"{SIGNATURE_HEADER} is not a signature of this body at this moment")
    if abs(now - int(timestamp)) > WINDOW_S:
        raise CallbackRefused(f"{TIMESTAMP_HEADER} is more than {WINDOW_S} s away from now: sign again and send again")
    return hashlib.sha256(body).hexdigest()[:16]

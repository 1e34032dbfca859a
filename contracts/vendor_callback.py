"""How a vendor signs what it sends, and how that is checked: HMAC-SHA256 over moment, vendor and body.

`POST /labels/VENDOR` with the headers `x-mangaassist-timestamp` (seconds since 1970, UTC) and
`x-mangaassist-signature` (hex). An old or future moment is refused, so what was overheard is useless after
`WINDOW_S`; within it a repeated body is the same batch, because a batch is named after its vendor and its bytes.
"""

from __future__ import annotations

import hashlib
import hmac

# Each has a secret of its own in Secrets Manager. A vendor more is a line here and a deploy.
VENDORS: tuple[str, ...] = ("hakushi", "northgate")

ROUTE = "POST /labels/{vendor}"
TIMESTAMP_HEADER, SIGNATURE_HEADER = "x-mangaassist-timestamp", "x-mangaassist-signature"
WINDOW_S = 300
MIN_SECRET_BYTES = 32
# Lambda takes 6 MB of event, in which a body that is not text grows by a third. About 40,000 votes.
MAX_BODY_BYTES = 4 * 1024 * 1024


class CallbackRefused(ValueError):
    """The message says which check failed, never what was expected."""


def path(vendor: str) -> str:
    return f"/labels/{vendor}"


def sign(secret: bytes, *, vendor: str, timestamp: int, body: bytes) -> str:
    """Hex signature. ValueError for a secret that could be guessed."""
    if len(secret) < MIN_SECRET_BYTES:
        raise ValueError(f"the secret must have at least {MIN_SECRET_BYTES} bytes, got {len(secret)}")
    return hmac.new(secret, f"{timestamp}.{vendor}.".encode() + body, hashlib.sha256).hexdigest()


def check(secret: bytes, *, vendor: str, timestamp: str, signature: str, body: bytes, now: float) -> str:
    """The batch id of a body that the holder of the secret sent just now; CallbackRefused otherwise."""
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12):
        raise CallbackRefused(f"{TIMESTAMP_HEADER} must be whole seconds since 1970")
    # The signature first: a stranger learns nothing about our clock.
    expected = sign(secret, vendor=vendor, timestamp=int(timestamp), body=body)
    if not hmac.compare_digest(expected.encode(), signature.encode("utf-8", "surrogatepass")):
        raise CallbackRefused(f"{SIGNATURE_HEADER} is not a signature of this body at this moment")
    if abs(now - int(timestamp)) > WINDOW_S:
        raise CallbackRefused(f"{TIMESTAMP_HEADER} is more than {WINDOW_S} s away from now: sign again and send again")
    return batch_id(vendor, body)


def batch_id(vendor: str, body: bytes) -> str:
    return f"{vendor}-{hashlib.sha256(body).hexdigest()[:16]}"

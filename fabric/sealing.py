"""Cache keys are keyed hashes, cached values are sealed: the cache tells nobody what was asked, and is never believed.

HMAC-SHA256 (RFC 2104) under two keys derived from one secret. A key can't be recomputed from a guessed text
without the secret. A seal binds a value to its key, so a value that was damaged, forged or copied to another
key opens as nothing. What is inside is JSON; nothing is ever unpickled.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any

from contracts.inference import normalised
from contracts.inference_cache import MIN_SECRET_BYTES

MAX_VALUE_BYTES = 8_192  # an answer has a few hundred
_FORMAT = b"1"
_TAG_BYTES = 16


class Sealer:
    def __init__(self, secret: bytes) -> None:
        if len(secret) < MIN_SECRET_BYTES:
            raise ValueError(f"the cache's secret must have {MIN_SECRET_BYTES} bytes or more, got {len(secret)}")
        self._keys, self._seals = (
            hmac.new(hmac.digest(secret, purpose, "sha256"), digestmod=hashlib.sha256)
            for purpose in (b"cache key", b"cache value")
        )

    def key(self, *, story: str, model_version: str, upstream: Mapping[str, str], text: str) -> str:
        """Key of one question to one model. `upstream`: slug -> version of each model whose output it was given."""
        parts = [story, model_version, normalised(text), *(part for pair in sorted(upstream.items()) for part in pair)]
        mac = self._keys.copy()
        for part in parts:  # each with its length, or ("ab", "c") and ("a", "bc") would share a key
            raw = part.encode()
            mac.update(len(raw).to_bytes(4, "big") + raw)
        return f"{story}:{base64.urlsafe_b64encode(mac.digest()).decode().rstrip('=')}"

    def seal(self, key: str, value: Mapping[str, Any]) -> bytes:
        payload = json.dumps(value, separators=(",", ":")).encode()
        return _FORMAT + self._tag(key, payload) + payload

    def open(self, key: str, sealed: bytes) -> dict[str, Any] | None:
        """What was sealed under this key; None for anything else."""
        tag, payload = sealed[1 : 1 + _TAG_BYTES], sealed[1 + _TAG_BYTES :]
        if sealed[:1] != _FORMAT or len(sealed) > MAX_VALUE_BYTES:
            return None
        if not hmac.compare_digest(tag, self._tag(key, payload)):
            return None
        value = json.loads(payload)
        return value if isinstance(value, dict) else None

    def _tag(self, key: str, payload: bytes) -> bytes:
        mac = self._seals.copy()
        mac.update(key.encode() + b"\0" + payload)
        return mac.digest()[:_TAG_BYTES]

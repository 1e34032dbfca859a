"""The version-pinned answer cache, over the Redis protocol (ElastiCache for Valkey on AWS).

A key is made of story, model version, versions of the models upstream and the normalised text; a value names its
version again and is verified before it is used. Beside the answers stands one record a story, the *epoch*: the newest
pointer that any client knows. Each look-up reads it in the same round trip, so what one client has learned all know
with their next question. A higher token is never overwritten by a lower one.

No method raises because of the cache: it is down, slow, full or lying, and the question goes on without it.
"""

from __future__ import annotations

import logging
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.credentials import CredentialProvider
from redis.exceptions import RedisError, ResponseError
from redis.retry import Retry

from contracts.inference_cache import PORT
from fabric.backoff import Backoff
from fabric.sealing import MAX_VALUE_BYTES, Sealer
from fabric.serving_version import Pointer

log = logging.getLogger("mangaassist.fabric")

_EPOCH_TTL_S = 60  # a token that is no longer true (a restored control table) costs no more hits than this
_ANNOUNCE_EVERY_S = 1.0
_TOKEN_DIGITS = 20
# Tokens have one width, so the order of their text is the order of the numbers.
_RAISE_EPOCH = """
if redis.call('GETRANGE', KEYS[1], 0, tonumber(ARGV[3]) - 1) >= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[4])
return 1
"""


@dataclass(frozen=True, kw_only=True)
class Found:
    """`answer` as the model gave it, without a request_id."""

    answer: dict[str, Any] | None = None
    asked: bool = False  # the cache did reply
    outdated: bool = False  # another client has announced a newer pointer
    failed: bool = False  # no reply, or a value that can't be trusted


def client(host: str, *, timeout_s: float, port: int = PORT, tls: bool = True,
           credentials: CredentialProvider | None = None) -> redis.Redis:
    """A client that waits for nothing longer than `timeout_s` and repeats nothing by itself."""
    secured: dict[str, Any] = {"ssl": True, "ssl_min_version": ssl.TLSVersion.TLSv1_2} if tls else {}
    return redis.Redis(
        host=host, port=port, credential_provider=credentials, socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s, retry=Retry(NoBackoff(), 0), protocol=2, driver_info=None, **secured)


class InferenceCache:
    """Thread-safe; one per process and story."""

    def __init__(self, server: redis.Redis, *, story: str, secret: bytes, ttl_s: int) -> None:
        self._server, self._story, self._ttl_s = server, story, ttl_s
        self._sealer, self._backoff = Sealer(secret), Backoff()
        self._epoch_key = f"{story}:epoch"
        self._announced_at = float("-inf")

    def look_up(self, text: str, pointer: Pointer, *, upstream: Mapping[str, str]) -> Found:
        """The answer of the pointer's version to `text`, unless another client has announced a newer pointer."""
        if not self._backoff.allows():
            return Found()
        key = self._key(text, pointer, upstream)
        pipeline = self._server.pipeline(transaction=False)
        pipeline.get(self._epoch_key)
        # A slice, for a value that somebody else made huge must not come over the wire.
        pipeline.getrange(key, 0, MAX_VALUE_BYTES)
        try:
            epoch, value = pipeline.execute(raise_on_error=False)
        except (RedisError, OSError) as error:
            self._failed(error)
            return Found(failed=True)
        self._backoff.succeeded()
        token = self._token(epoch)
        if token > pointer.token:
            return Found(asked=True, outdated=True)
        if token < pointer.token:
            self._announce(pointer)
        answer = self._opened(key, value, pointer)
        return Found(asked=True, answer=answer, failed=bool(value) and answer is None)

    def store(self, text: str, answer: Mapping[str, Any], pointer: Pointer, *, upstream: Mapping[str, str]) -> None:
        """Keep the answer, if it is the pointer's version that gave it."""
        if answer.get("model_version") != pointer.version or not self._backoff.allows():
            return
        key = self._key(text, pointer, upstream)
        value = self._sealer.seal(key, {name: part for name, part in answer.items() if name != "request_id"})
        if len(value) > MAX_VALUE_BYTES:
            return
        try:
            self._server.set(key, value, ex=self._ttl_s)
        except (RedisError, OSError) as error:
            self._failed(error)
        else:
            self._backoff.succeeded()

    def _key(self, text: str, pointer: Pointer, upstream: Mapping[str, str]) -> str:
        return self._sealer.key(story=self._story, model_version=pointer.version, upstream=upstream, text=text)

    def _opened(self, key: str, value: object, pointer: Pointer) -> dict[str, Any] | None:
        """None when nothing is there, and when what is there can't be trusted."""
        if not value:
            return None
        answer = self._sealer.open(key, value) if isinstance(value, bytes) else None
        if answer is None or (answer.get("story"), answer.get("model_version")) != (self._story, pointer.version):
            log.warning("cache of %s: a value could not be verified and was passed over", self._story)
            return None
        return answer

    def _token(self, epoch: object) -> int:
        """The announced token; -1 for none, or for one that no client of ours announced."""
        if not isinstance(epoch, bytes):
            return -1
        announced = self._sealer.open(self._epoch_key, epoch[_TOKEN_DIGITS:])
        return int(announced["token"]) if announced else -1

    def _announce(self, pointer: Pointer) -> None:
        if time.monotonic() - self._announced_at < _ANNOUNCE_EVERY_S:
            return
        self._announced_at = time.monotonic()
        digits = f"{pointer.token:0{_TOKEN_DIGITS}d}".encode()
        sealed = self._sealer.seal(self._epoch_key, {"token": pointer.token})
        try:
            self._server.eval(_RAISE_EPOCH, 1, self._epoch_key, digits, digits + sealed, _TOKEN_DIGITS, _EPOCH_TTL_S)
        except (RedisError, OSError) as error:
            self._failed(error)

    def _failed(self, error: Exception) -> None:
        if not isinstance(error, ResponseError):  # an answer, if not the one wanted: the server is there
            self._backoff.failed()
        log.warning("cache of %s failed: %s", self._story, type(error).__name__)

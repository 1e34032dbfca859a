"""Where the inference cache is and who may do what in it: the construct writes it, the fabric reads it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

PORT = 6380  # not the default one, which scanners try first (AwsSolutions-AEC5)
ENGINE, ENGINE_VERSION = "valkey", "8.0"
# The commands that the fabric sends and nothing else (Valkey's access-control syntax, without the authentication).
ACCESS = "on ~* -@all +get +getrange +set +eval"
MIN_SECRET_BYTES = 32


@dataclass(frozen=True, kw_only=True)
class CacheAddress:
    """The value of `naming.INFERENCE_CACHE_PARAMETER`. `secret_arn` names what cache keys are hashed with."""

    host: str
    name: str  # of the replication group: what an IAM token is signed for
    user: str
    secret_arn: str
    port: int = PORT

    def to_json(self) -> str:
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> CacheAddress:
        return cls(**json.loads(text))

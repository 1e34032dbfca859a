"""Settings of one embedded AWS. They travel to the server process as JSON, so every field is plain data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

ACCOUNT = "000000000000"  # ministack's default account
ROOT_KEY = "test"  # access key and secret of the root user, who deploys and is never refused


@dataclass(frozen=True, kw_only=True)
class LocalConfig:
    """All state (S3 bodies, job sandboxes, logs, pid file) lives under data_dir; port 0 picks a free one.

    Every wait (ASL Wait, retry backoff, canary bake, schedule tick, alarm period) is divided by clock_factor.
    """

    data_dir: Path
    port: int = 0
    region: str = "us-east-1"
    clock_factor: float = 1.0
    peers: Mapping[str, str] = field(default_factory=dict)  # region -> endpoint URL of the embedded AWS that is it

    def __post_init__(self) -> None:
        if self.clock_factor < 1:
            raise ValueError(f"clock_factor must be 1 or more (1 is real time), got {self.clock_factor}")
        if not 0 <= self.port <= 65535:
            raise ValueError(f"port must be 0 (pick a free one) to 65535, got {self.port}")

    def scaled(self, seconds: float) -> float:
        """How long a wait of so many AWS seconds lasts here."""
        return seconds / self.clock_factor

    @property
    def endpoint_url(self) -> str:
        # localhost, not 127.0.0.1: clients put bucket names in front of the host only for names
        return f"http://localhost:{self.port}"

    @property
    def account(self) -> str:
        return ACCOUNT

    def to_json(self) -> str:
        return json.dumps({**asdict(self), "data_dir": str(self.data_dir)})

    @classmethod
    def from_json(cls, text: str) -> LocalConfig:
        values = json.loads(text)
        return cls(**{**values, "data_dir": Path(values["data_dir"])})

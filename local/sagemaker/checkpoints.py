"""/opt/ml/checkpoints: restored when a job starts, copied to S3 while it runs and when it ends."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from local.sagemaker.aws_http import AwsError, Client, split_s3_uri
from local.sagemaker.errors import JobFailure
from local.sagemaker.sandbox import Sandbox

_EVERY_S = 1.0
_SETTLED_S = 0.5  # a file that changed just now may be half-written: it waits for the next round,
_AT_LATEST_S = 2.0  # but one that changes all the time goes out this often all the same


@dataclass(kw_only=True)
class CheckpointSync:
    client: Client
    folder: Path
    uri: str
    seen: dict[Path, tuple[float, int]] = field(default_factory=dict)
    sent: dict[Path, float] = field(default_factory=dict)
    last: float = 0.0

    @classmethod
    def begin(cls, config: dict[str, Any] | None, client: Client, sandbox: Sandbox) -> CheckpointSync | None:
        """Restore what is in S3; an empty prefix is the first start."""
        if not config:
            return None
        folder = sandbox.path(config.get("LocalPath", "/opt/ml/checkpoints"))
        folder.mkdir(parents=True, exist_ok=True)
        sync = cls(client=client, folder=folder, uri=config["S3Uri"].rstrip("/"))
        bucket, prefix = split_s3_uri(sync.uri + "/")
        try:
            for key, _ in client.list_objects(bucket, prefix):
                client.download(bucket, key, folder / key[len(prefix) :])
        except AwsError as error:
            raise JobFailure(f"ClientError: Checkpoint download failed:{error} (from {sync.uri})") from error
        sync.seen = {p: _stamp(p) for p in sync._files()}
        return sync

    def tick(self) -> None:
        if time.monotonic() - self.last >= _EVERY_S:
            self.sync(settled_s=_SETTLED_S)
            self.last = time.monotonic()

    def sync(self, *, settled_s: float) -> None:
        bucket, prefix = split_s3_uri(self.uri + "/")
        for path in self._files():
            try:
                stamp = _stamp(path)
                waited = time.monotonic() - self.sent.setdefault(path, time.monotonic())
                fresh = time.time() - stamp[0] < settled_s and waited < _AT_LATEST_S
                if fresh or self.seen.get(path) == stamp:
                    continue
                self.client.upload(bucket, prefix + path.relative_to(self.folder).as_posix(), path)
                self.seen[path], self.sent[path] = stamp, time.monotonic()
            except FileNotFoundError:
                continue  # the container rotates its checkpoints
            except AwsError as error:
                raise JobFailure(f"ClientError: Checkpoint upload failed:{error} (to {self.uri})") from error

    def _files(self) -> list[Path]:
        return [p for p in sorted(self.folder.rglob("*")) if p.is_file()]


def _stamp(path: Path) -> tuple[float, int]:
    stat = path.stat()
    return stat.st_mtime, stat.st_size

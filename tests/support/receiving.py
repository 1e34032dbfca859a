"""The us deployment in a second embedded AWS beside jp's, which is its peer: one region each, as on AWS."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cli import executions
from cli.target import Target
from contracts import naming
from contracts.announcements import Announcement, Signed, key_digest
from contracts.deployments import JP, US
from local.deploy import deploy
from tests.support.deployment import CLOCK_FACTOR, SLUG, Deployed, Run, synthesise
from tests.support.embedded import embedded_aws

_KEY = f"alias/{naming.PROJECT}-{JP.name}-signing"


@dataclass
class Regions:
    """`jp` is home and promoted something; `us` receives."""

    jp: Deployed
    us: Deployed

    def receive(self, reason: str = "test") -> Run:
        return self.us.finish(executions.start_receive(self.us.target, SLUG, reason=reason))

    def announced(self) -> Announcement:
        return Signed.parse(self._object(naming.announcement(SLUG))).announcement

    def model_file(self, name: str) -> str:
        """Key of a file of what home announces."""
        return naming.model_prefix(SLUG, self.announced().manifest_sha256) + name

    @contextmanager
    def home_holds(self, key: str, body: bytes) -> Iterator[None]:
        """An object of home's is another one while the block runs."""
        before = self._object(key)
        self._put(key, body)
        try:
            yield
        finally:
            self._put(key, before)

    @contextmanager
    def home_announces(self, **changes: Any) -> Iterator[None]:
        """Something else than what home serves, signed by home's own key."""
        said = replace(self.announced(), **changes)
        kms = self.jp.aws.client("kms")
        signature = kms.sign(KeyId=_KEY, Message=said.statement(), MessageType="RAW", SigningAlgorithm="ECDSA_SHA_256")
        body = Signed(announcement=said, signature=signature["Signature"], public_key=public_key(self.jp)).to_bytes()
        with self.home_holds(naming.announcement(SLUG), body):
            yield

    def flipped(self, key: str) -> bytes:
        body = bytearray(self._object(key))
        body[len(body) // 2] ^= 1
        return bytes(body)

    def _object(self, key: str) -> bytes:
        bucket = self.jp.target.bucket(naming.ARTIFACTS)
        return bytes(self.jp.aws.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read())

    def _put(self, key: str, body: bytes) -> None:
        self.jp.aws.client("s3").put_object(Bucket=self.jp.target.bucket(naming.ARTIFACTS), Key=key, Body=body)


def public_key(home: Deployed) -> bytes:
    return bytes(home.aws.client("kms").get_public_key(KeyId=_KEY)["PublicKey"])


@contextmanager
def receiving(jp: Deployed, folder: Path) -> Iterator[Regions]:
    pin = key_digest(public_key(jp))
    assembly = synthesise(folder / "cdk.out", deployment=US.name, home_key_sha256=pin)
    with embedded_aws(folder / "aws", clock_factor=CLOCK_FACTOR, region=US.region,
                      peers={JP.region: jp.aws.endpoint_url}) as aws:
        deploy(assembly, endpoint_url=aws.endpoint_url, region=US.region)
        # Its hour is 12 s on this clock: a run that nobody asked for would hold the lease.
        aws.client("scheduler").delete_schedule(Name=naming.receive_schedule(SLUG))
        us = Deployed(aws=aws, target=Target.of(US.name, aws.endpoint_url), folder=folder, assembly=assembly)
        yield Regions(jp, us)


def refusal(us: Deployed, run: Run) -> dict[str, Any]:
    """What the audit record of a refused run says."""
    return dict(json.loads(us.audit(run.name, "Refused")["detail"])["end"])

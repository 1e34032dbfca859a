"""{"story"} -> {"version"}: home says, signed, which version its pointer names. Receiving regions read it."""

from __future__ import annotations

from typing import Any

from contracts import naming, stories
from contracts.announcements import Announcement, Signed
from contracts.functions import AnnounceEnv
from lambdas.shared.aws import client, environment
from lambdas.shared.errors import NeverPromoted
from lambdas.shared.observability import instrumented
from lambdas.shared.pointer import read_pointer
from lambdas.shared.signatures import sign


@instrumented("announce")
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    env, story = environment(AnnounceEnv), stories.story(event["story"]).slug
    # The pointer as it is, not what the caller promoted: a retry that comes late says what serves now.
    pointer = read_pointer(client("dynamodb"), env.CONTROL_TABLE, story)
    if pointer is None:
        raise NeverPromoted(f"{story} was never promoted: there is nothing to announce")
    said = Announcement(
        story=story,
        version=int(pointer["version"]),
        manifest_sha256=pointer["manifest_sha256"],
        label_version_to=pointer["label_version_to"],
        verdict_uri=pointer["verdict_uri"],
        token=int(pointer["token"]),
    )
    kms = client("kms")
    signed = Signed(
        announcement=said,
        signature=sign(kms, key=env.SIGNING_KEY_ARN, message=said.statement()),
        public_key=kms.get_public_key(KeyId=env.SIGNING_KEY_ARN)["PublicKey"],
    )
    client("s3").put_object(Bucket=env.ARTIFACTS_BUCKET, Key=naming.announcement(story), Body=signed.to_bytes())
    return {"version": str(said.version)}

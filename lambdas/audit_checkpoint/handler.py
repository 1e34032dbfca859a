"""{} -> {"signed": {chain: sequence}}: the head of every audit chain that grew, signed and put out of reach
of whoever can write records. Runs hourly and on request; told twice, the second finds nothing to sign.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from contracts import naming
from contracts.audit_chain import Checkpoint, Head, SignedCheckpoint
from contracts.functions import AuditCheckpointEnv
from contracts.records import PLATFORM
from contracts.stories import CONTRACTS
from lambdas.shared.audit_trail import read_head
from lambdas.shared.aws import client, environment
from lambdas.shared.objects import S3Uri, list_objects
from lambdas.shared.observability import instrumented, logger
from lambdas.shared.signatures import ALGORITHM


@instrumented("audit_checkpoint")
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    env = environment(AuditCheckpointEnv)
    signed: dict[str, int] = {}
    for chain in (*CONTRACTS, PLATFORM):
        head = read_head(client("dynamodb"), env.AUDIT_TABLE, chain)
        if head.sequence and _sign(head, env):
            signed[chain] = head.sequence
    return {"signed": signed}


def _sign(head: Head, env: AuditCheckpointEnv) -> bool:
    """False when this head is signed already."""
    s3, place = client("s3"), S3Uri(env.ARTIFACTS_BUCKET, naming.audit_checkpoint(head.chain, head.sequence))
    if any(list_objects(s3, place)):
        return False
    point = Checkpoint.of(head, at=datetime.now(UTC).isoformat())
    signature = client("kms").sign(KeyId=env.SIGNING_KEY_ARN, Message=point.digest(), MessageType="DIGEST",
                                   SigningAlgorithm=ALGORITHM)["Signature"]
    s3.put_object(Bucket=place.bucket, Key=place.key,
                  Body=SignedCheckpoint(checkpoint=point, signature=signature).to_json())
    # The log is a third place that says it.
    logger.info("audit head signed", chain=head.chain, sequence=head.sequence, hash=head.hash)
    return True

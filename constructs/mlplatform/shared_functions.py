"""The functions that serve every story: lease, kill switches, audit and its signed heads."""

from __future__ import annotations

from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3

from constructs import Construct
from contracts import functions as f
from contracts import naming
from mlplatform.container_image import ContainerImage
from mlplatform.control_tables import AuditTable, ControlTable, append_audit
from mlplatform.eventing import Schedule
from mlplatform.kill_switches import read_all_flags
from mlplatform.platform_function import FunctionRoom, function_arn
from mlplatform.policies import allow, arn, arn_of, use_key, write_prefixes

ROOM = "platform"
# Longer than the longest execution. A holder that ended without giving back is found out when somebody wants the
# lease; only one that can't be asked about blocks this long, and a roll-back never waits.
LEASE_TTL_S = 90_000
_BUILD_POLL_S = 20
# What was written since the last head is linked, not yet signed: an hour at most.
_SIGN_HEADS = "cron(10 * * * ? *)"


class SharedFunctions(Construct):
    def __init__(self, scope: Construct, id_: str, *, control: ControlTable, audit: AuditTable, key: kms.IKey,
                 images: list[ContainerImage], artifacts: s3.IBucket, signing_key: kms.IKey) -> None:
        super().__init__(scope, id_)
        self.room = room = FunctionRoom(self, "Room", room=ROOM, key=key)
        data = use_key(arn_of(key))
        self.lease = room.function(
            f.LEASE, environment=f.LeaseEnv(CONTROL_TABLE=control.name, LEASE_TTL_S=LEASE_TTL_S),
            statements=[allow("dynamodb:GetItem", "dynamodb:UpdateItem", on=control.arn), data,
                        # Has the execution that is in the way ended without giving its lease back?
                        allow("states:DescribeExecution", on=arn("states", f"execution:{naming.PROJECT}-*:*"))])
        self.kill_switches = room.function(f.KILL_SWITCHES, environment=f.NoEnv(), statements=[read_all_flags()])
        self.audit = room.function(
            f.AUDIT, environment=f.AuditEnv(AUDIT_TABLE=audit.name),
            statements=[*append_audit(audit.arn), data])
        self.audit_checkpoint = room.function(
            f.AUDIT_CHECKPOINT, environment=f.AuditCheckpointEnv(
                AUDIT_TABLE=audit.name, ARTIFACTS_BUCKET=artifacts.bucket_name,
                SIGNING_KEY_ARN=arn_of(signing_key)),
            statements=[
                allow("dynamodb:Query", on=audit.arn),
                allow("s3:ListBucket", on=artifacts.bucket_arn,
                      when={"StringLike": {"s3:prefix": [f"{naming.ALL_AUDIT_CHECKPOINTS}*"]}}),
                write_prefixes(artifacts.bucket_arn, naming.ALL_AUDIT_CHECKPOINTS),
                allow("kms:Sign", on=arn_of(signing_key)), data])
        Schedule(self, "SignAuditHeads", name=naming.audit_checkpoint_schedule(), expression=_SIGN_HEADS,
                 time_zone="UTC", target_arn=self.audit_checkpoint.arn, action="lambda:InvokeFunction", body={})
        self.image_builder = room.function(
            f.IMAGE_BUILDER, environment=f.ImageBuilderEnv(POLL_S=_BUILD_POLL_S),
            statements=[*(s for image in images for s in image.build_statements()),
                        # A build may outlast the function, which then goes on in an invocation of itself.
                        allow("lambda:InvokeFunction", on=function_arn(ROOM, f.IMAGE_BUILDER))])

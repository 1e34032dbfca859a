"""The functions that serve every story: lease, kill switches, audit."""

from __future__ import annotations

from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_kms as kms

from constructs import Construct
from contracts import functions as f
from mlplatform.container_image import ContainerImage
from mlplatform.kill_switches import read_all_flags
from mlplatform.platform_function import FunctionRoom, function_arn
from mlplatform.policies import allow, arn_of, use_key

ROOM = "platform"
# Longer than the longest execution: a holder that crashed blocks this long at most, a roll-back never waits.
LEASE_TTL_S = 90_000
_BUILD_POLL_S = 20


class SharedFunctions(Construct):
    def __init__(self, scope: Construct, id_: str, *, control: dynamodb.ITable, audit: dynamodb.ITable, key: kms.IKey,
                 images: list[ContainerImage]) -> None:
        super().__init__(scope, id_)
        room = FunctionRoom(self, "Room", room=ROOM, key=key)
        data = use_key(arn_of(key))
        self.lease = room.function(
            f.LEASE, environment=f.LeaseEnv(CONTROL_TABLE=control.table_name, LEASE_TTL_S=LEASE_TTL_S),
            statements=[allow("dynamodb:GetItem", "dynamodb:UpdateItem", on=control.table_arn), data])
        self.kill_switches = room.function(f.KILL_SWITCHES, environment=f.NoEnv(), statements=[read_all_flags()])
        self.audit = room.function(
            f.AUDIT, environment=f.AuditEnv(AUDIT_TABLE=audit.table_name),
            statements=[allow("dynamodb:PutItem", on=audit.table_arn), data])
        self.image_builder = room.function(
            f.IMAGE_BUILDER, environment=f.ImageBuilderEnv(POLL_S=_BUILD_POLL_S),
            statements=[*(s for image in images for s in image.build_statements()),
                        # A build may outlast the function, which then goes on in an invocation of itself.
                        allow("lambda:InvokeFunction", on=function_arn(ROOM, f.IMAGE_BUILDER))])

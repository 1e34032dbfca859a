"""The control table (leases, pointers) and the audit table (append-only)."""

from __future__ import annotations

from typing import Any

from aws_cdk import RemovalPolicy
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_kms as kms

from constructs import Construct
from contracts import naming
from mlplatform.policies import Statement, allow, arn_of, document
from mlplatform.retention import removal_policy

# What would rewrite or remove a record. PutItem stays: writers put with attribute_not_exists.
_REWRITES = ("dynamodb:UpdateItem", "dynamodb:DeleteItem", "dynamodb:BatchWriteItem", "dynamodb:PartiQLUpdate",
             "dynamodb:PartiQLDelete", "dynamodb:PartiQLInsert")


def append_audit(table_arn: str) -> list[Statement]:
    """Find the end of a chain and put behind it; the table's own policy denies the rest."""
    return [allow("dynamodb:PutItem", on=table_arn), allow("dynamodb:Query", on=table_arn)]


class ControlTable(Construct):
    """One item per story and purpose: `LEASE`, `POINTER`, the last serving spec that was read."""

    def __init__(self, scope: Construct, id_: str, *, deployment: str, key: kms.IKey,
                 destroyable: bool = False) -> None:
        super().__init__(scope, id_)
        table = _table(self, name=naming.control_table(deployment), sort_key="item", key=key,
                       removal=removal_policy(self, destroyable=destroyable))
        self.name, self.arn = table.ref, table.attr_arn


class AuditTable(Construct):
    """Append-only: a deny in the table's own policy holds even for a role that is granted too much."""

    def __init__(self, scope: Construct, id_: str, *, deployment: str, key: kms.IKey) -> None:
        super().__init__(scope, id_)
        no_rewrites = document({
            "Sid": "RecordsAreNeverRewritten", "Effect": "Deny", "Principal": {"AWS": "*"},
            "Action": list(_REWRITES), "Resource": "*",  # in a table's policy "*" is this table
        })
        table = _table(self, name=naming.audit_table(deployment), sort_key="id", key=key,
                       removal=RemovalPolicy.RETAIN, policy=no_rewrites)
        self.name, self.arn = table.ref, table.attr_arn


def _table(scope: Construct, *, name: str, sort_key: str, key: kms.IKey, removal: RemovalPolicy,
           policy: dict[str, Any] | None = None) -> dynamodb.CfnTable:
    table = dynamodb.CfnTable(
        scope, "Resource", table_name=name, billing_mode="PAY_PER_REQUEST",
        attribute_definitions=[dynamodb.CfnTable.AttributeDefinitionProperty(attribute_name=n, attribute_type="S")
                               for n in ("story", sort_key)],
        key_schema=[dynamodb.CfnTable.KeySchemaProperty(attribute_name=n, key_type=kind)
                    for n, kind in (("story", "HASH"), (sort_key, "RANGE"))],
        sse_specification=dynamodb.CfnTable.SSESpecificationProperty(
            sse_enabled=True, sse_type="KMS", kms_master_key_id=arn_of(key)),
        point_in_time_recovery_specification=dynamodb.CfnTable.PointInTimeRecoverySpecificationProperty(
            point_in_time_recovery_enabled=True),
        deletion_protection_enabled=removal is RemovalPolicy.RETAIN,
        resource_policy=dynamodb.CfnTable.ResourcePolicyProperty(policy_document=policy) if policy else None,
    )
    table.apply_removal_policy(removal)
    return table

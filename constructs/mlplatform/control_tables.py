"""The control table (leases, pointers) and the audit table (append-only)."""

from __future__ import annotations

from typing import Any

from aws_cdk import RemovalPolicy
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms

from constructs import Construct
from contracts import naming
from mlplatform.policies import Statement, allow
from mlplatform.retention import removal_policy

# What would rewrite or remove a record. PutItem stays: writers put with attribute_not_exists.
_REWRITES = ("dynamodb:UpdateItem", "dynamodb:DeleteItem", "dynamodb:BatchWriteItem", "dynamodb:PartiQLUpdate",
             "dynamodb:PartiQLDelete", "dynamodb:PartiQLInsert")


def append_audit(table_arn: str) -> list[Statement]:
    """Find the end of a chain and put behind it; the table's own policy denies the rest."""
    return [allow("dynamodb:PutItem", on=table_arn), allow("dynamodb:Query", on=table_arn)]


def _table(scope: Construct, id_: str, *, name: str, sort_key: str, key: kms.IKey, removal: RemovalPolicy,
           policy: iam.PolicyDocument | None = None) -> dynamodb.Table:
    def string(attribute: str) -> dynamodb.Attribute:
        return dynamodb.Attribute(name=attribute, type=dynamodb.AttributeType.STRING)

    options: dict[str, Any] = {"resource_policy": policy} if policy else {}
    return dynamodb.Table(
        scope, id_, table_name=name, partition_key=string("story"), sort_key=string(sort_key),
        billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST, encryption=dynamodb.TableEncryption.CUSTOMER_MANAGED,
        encryption_key=key, removal_policy=removal, deletion_protection=removal is RemovalPolicy.RETAIN,
        point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
            point_in_time_recovery_enabled=True),
        **options,
    )


class ControlTable(Construct):
    """One item per story and purpose: `LEASE`, `POINTER`, the last serving spec that was read."""

    def __init__(self, scope: Construct, id_: str, *, deployment: str, key: kms.IKey,
                 destroyable: bool = False) -> None:
        super().__init__(scope, id_)
        self.table = _table(self, "Default", name=naming.control_table(deployment), sort_key="item", key=key,
                            removal=removal_policy(self, destroyable=destroyable))


class AuditTable(Construct):
    """Append-only: a deny in the table's own policy holds even for a role that is granted too much."""

    def __init__(self, scope: Construct, id_: str, *, deployment: str, key: kms.IKey) -> None:
        super().__init__(scope, id_)
        no_rewrites = iam.PolicyDocument(statements=[iam.PolicyStatement(
            sid="RecordsAreNeverRewritten", effect=iam.Effect.DENY, principals=[iam.AnyPrincipal()],
            actions=list(_REWRITES), resources=["*"],  # in a table's policy "*" is this table
        )])
        self.table = _table(self, "Default", name=naming.audit_table(deployment), sort_key="id", key=key,
                            removal=RemovalPolicy.RETAIN, policy=no_rewrites)

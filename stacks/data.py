"""What must not be lost: keys, buckets, control and audit tables, the label database."""

from __future__ import annotations

from typing import Any

from aws_cdk import Stack
from mlplatform.buckets import Buckets
from mlplatform.control_tables import AuditTable, ControlTable
from mlplatform.keys import DataKey, SigningKey
from mlplatform.label_platform import LabelDatabase

from constructs import Construct
from contracts import naming
from contracts.deployments import Deployment


class DataStack(Stack):
    def __init__(self, scope: Construct, id_: str, *, deployment: Deployment, **options: Any) -> None:
        super().__init__(scope, id_, **options)
        name = f"{naming.PROJECT}-{deployment.name}"
        # May go in a throw-away account (`-c destroy=true`); the signing key and the audit trail never do.
        self.key = DataKey(self, "DataKey", alias=f"{name}-data", destroyable=True).key
        self.signing_key = SigningKey(self, "SigningKey", alias=naming.signing_key_alias(deployment.name)).key
        self.buckets = Buckets(self, "Buckets", deployment=deployment.name, key=self.key, destroyable=True)
        self.control = ControlTable(self, "Control", deployment=deployment.name, key=self.key, destroyable=True)
        self.audit = AuditTable(self, "Audit", deployment=deployment.name, key=self.key)
        LabelDatabase(self, "Labels")

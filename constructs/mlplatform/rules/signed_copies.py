"""The one path between regions: a receiving deployment pulls published, signed models from home.

It may read below `models/` of home's artifacts bucket, decrypt what it reads there (through S3
only) and verify home's signature. Weights travel, customer data never: nothing else passes, and home itself
gives nothing away.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from contracts import naming
from contracts.deployments import HOME, Deployment
from mlplatform.rules.templates import Resource, dig

_BUCKET = naming.bucket(naming.ARTIFACTS, HOME.name, "<account>")
_MODELS = f"arn:aws:s3:::{_BUCKET}/models/"
_KEYS = f"arn:aws:kms:{HOME.region}:<account>:"
_VERIFY = {"kms:Verify", "kms:GetPublicKey", "kms:DescribeKey"}


def is_signed_copy_pull(deployment: Deployment, resource: Resource, where: str) -> bool:
    """Whether the text at `where` is part of that pull: a grant of a role, or a setting of a function."""
    if deployment.home:
        return False
    steps = where.split(".")
    if resource.type == "AWS::Lambda::Function" and steps[1:3] == ["Environment", "Variables"]:
        value = resource.text(".".join(steps[1:4]))
        return value in (HOME.region, _BUCKET) or value.startswith(_KEYS)
    if resource.type != "AWS::IAM::Role" or "Statement" not in steps:
        return False
    end = steps.index("Statement") + 2
    statement = dig(resource.properties, ".".join(steps[1:end]))
    return isinstance(statement, Mapping) and _pulls(resource, statement)


def _pulls(resource: Resource, statement: Mapping[str, Any]) -> bool:
    actions = listed(statement.get("Action", []))
    targets = [resource.stack.text(r) for r in listed(statement.get("Resource", []))]
    if statement.get("Effect") != "Allow" or not actions or not targets:
        return False
    if set(actions) <= {"s3:GetObject", "s3:GetObjectVersion"}:
        return all(t.startswith(_MODELS) for t in targets)
    if set(actions) == {"s3:ListBucket"}:
        prefixes = listed(dig(statement, "Condition.StringLike.s3:prefix") or [])
        return targets == [f"arn:aws:s3:::{_BUCKET}"] and bool(prefixes) and \
            all(p.startswith("models/") for p in prefixes)
    if set(actions) == {"kms:Decrypt"}:
        through = resource.stack.text(dig(statement, "Condition.StringEquals.kms:ViaService"))
        return through == f"s3.{HOME.region}.amazonaws.com" and all(t.startswith(_KEYS) for t in targets)
    return set(actions) <= _VERIFY and all(t.startswith(_KEYS) for t in targets)


def listed(value: Any) -> list[Any]:
    """IAM writes one as itself and several as a list."""
    return value if isinstance(value, list) else [value]

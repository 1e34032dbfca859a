"""Temporary credentials of a role, for the services that act on somebody's behalf.

A trust policy that does not name the service is refused, as AWS does.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any


class RoleRefused(Exception):
    """The role does not exist or does not trust the service."""


def credentials(role_arn: str, service: str, session_name: str = "embedded") -> dict[str, str]:
    """Keys as boto3.client takes them, for a session of the role on behalf of `service` (lambda.amazonaws.com)."""
    check_trust(role_arn, service)
    return _session(role_arn, session_name)


def _session(role_arn: str, session_name: str) -> dict[str, str]:
    from ministack.services import sts

    account, name = role_arn.split(":")[4], role_arn.rsplit("/", 1)[-1]
    # derived, not random: the same role and session get the same keys, so clients can be kept
    digest = hashlib.sha256(f"{role_arn}|{session_name}".encode()).hexdigest()
    keys = {
        "aws_access_key_id": f"ASIA{digest[:16].upper()}",
        "aws_secret_access_key": hashlib.sha256(f"secret:{digest}".encode()).hexdigest(),
        "aws_session_token": hashlib.sha256(f"token:{digest}".encode()).hexdigest(),
    }
    sts.register_session(keys["aws_access_key_id"], {
        "Arn": f"arn:aws:sts::{account}:assumed-role/{name}/{session_name}",
        "UserId": f"{name}:{session_name}",
        "SecretAccessKey": keys["aws_secret_access_key"],
        "SessionToken": keys["aws_session_token"],
    })
    return keys


def check_trust(role_arn: str, service: str) -> None:
    trust = _trust_policy(role_arn)
    for statement in _as_list(trust.get("Statement")):
        principal = statement.get("Principal")
        services = _as_list(principal.get("Service")) if isinstance(principal, dict) else []
        names_it = principal == "*" or any(_same_service(s, service) for s in services)
        actions = _as_list(statement.get("Action"))
        if statement.get("Effect") == "Allow" and names_it and {"sts:AssumeRole", "sts:*", "*"} & set(actions):
            return
    raise RoleRefused(f"The role {role_arn} cannot be assumed by {service}: "
                      f"its trust policy allows {sorted(_trusted(trust)) or 'no service'}. Add {service}.")


def may(role_arn: str, service: str, action: str, resource: str, region: str) -> bool:
    """Whether the role, assumed by `service`, is allowed the action (used where no HTTP call is made)."""
    from ministack.core import iam_evaluator
    from ministack.core.responses import _request_account_id

    keys = credentials(role_arn, service)
    token = _request_account_id.set(role_arn.split(":")[4])
    try:
        principal = iam_evaluator.resolve_principal(keys["aws_access_key_id"], role_arn.split(":")[4])
        context = iam_evaluator.EvalContext(
            principal_arn=principal.arn, principal_type=principal.type, principal_account=principal.account,
            action=action, resource_arn=resource, region=region, service_context={}, principal_keys=principal.keys,
        )
        return iam_evaluator.evaluate(context, principal.policies, *principal.limits).decision == "Allow"
    finally:
        _request_account_id.reset(token)


def _trust_policy(role_arn: str) -> dict[str, Any]:
    from ministack.services import iam

    parts = role_arn.split(":")
    if len(parts) < 6 or not parts[5].startswith("role/"):
        raise RoleRefused(f"{role_arn!r} is no role ARN (arn:aws:iam::ACCOUNT:role/NAME)")
    role = iam._roles.get_scoped(parts[4], None, role_arn.rsplit("/", 1)[-1])
    if role is None:
        raise RoleRefused(f"The role {role_arn} does not exist")
    document = role.get("AssumeRolePolicyDocument") or {}
    return dict(json.loads(document)) if isinstance(document, str) else dict(document)


def _trusted(trust: dict[str, Any]) -> set[str]:
    principals = [s.get("Principal") for s in _as_list(trust.get("Statement"))]
    return {name for p in principals if isinstance(p, dict) for name in _as_list(p.get("Service"))}


def _same_service(named: str, service: str) -> bool:
    # states.ap-northeast-1.amazonaws.com is the older, regional spelling
    first, last = service.split(".", 1)
    return named == service or (named.startswith(f"{first}.") and named.endswith(f".{last}"))


def _as_list(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]

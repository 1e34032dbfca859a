"""Recorded and implied calls against the deployed policies, decided by a policy simulator that is not ours.

One Node process reads everything and answers in one go. The simulator refuses actions that do not exist and resources
that an action has not, so a wrong row in a table of ours is a finding, too.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local import call_record
from tests.support import iam_implied, iam_policies
from tests.support.deployment import Deployed
from tests.support.iam_policies import Document, Policies, Role, as_list

ROOT = Path(__file__).resolve().parents[2]
SIMULATOR = Path(__file__).with_name("iam_simulator.mjs")
ALLOWED = "Allowed"
# What holds for every call of an SDK of today and that the record cannot know.
STANDING = {"aws:securetransport": "true"}
_STANDING_S3 = {"s3:tlsversion": "1.3"}
# The application-autoscaling API has no ARN to name; the record has a stand-in that only a wildcard matches.
_ANY_SCALABLE_TARGET = "scalable-target/embedded"


@dataclass(frozen=True, kw_only=True)
class Call:
    """`principal`: a role's ARN or a service; `what` says where the call comes from."""

    principal: str
    action: str
    resource: str
    context: dict[str, str]
    what: str

    def __str__(self) -> str:
        shown = {key: value for key, value in self.context.items() if STANDING.get(key) != value}
        return (f"{self.principal.rsplit('/', 1)[-1]}: {self.action} on {self.resource}"
                f"{f' with {shown}' if shown else ''} ({self.what})")


@dataclass(frozen=True, kw_only=True)
class Answer:
    call: Call
    result: str  # Allowed, ImplicitlyDenied, ExplicitlyDenied, or an error of the simulator
    ignored: tuple[str, ...]  # condition keys that the simulator does not take for this action

    @property
    def allowed(self) -> bool:
        return self.result == ALLOWED


def recorded_calls(record: Iterable[dict[str, Any]], policies: Policies) -> list[Call]:
    """The record's lines of deployed roles and of services; a role that a test made for itself is no concern here."""
    return [Call(principal=line["principal"], action=line["action"], resource=line["resource"],
                 context={**STANDING, **line["context"]}, what=f"recorded, {line['count']} times or more")
            for line in record
            if line["principal"] in policies.roles or not line["principal"].startswith("arn:")]


def policies_of(deployed: Deployed) -> Policies:
    return iam_policies.read(deployed.aws, deployed.assembly, account=deployed.target.account,
                             region=deployed.aws.region)


def record_of(deployed: Deployed, policies: Policies) -> list[Call]:
    """Every call so far."""
    return recorded_calls(call_record.read(deployed.aws.running.config.data_dir / call_record.FILE), policies)


def denied(deployed: Deployed) -> list[str]:
    """The recorded calls that AWS would not allow."""
    policies = policies_of(deployed)
    answers = simulate(record_of(deployed, policies), policies)
    return [f"{answer.result}: {answer.call}" for answer in answers if not answer.allowed]


def implied_calls(policies: Policies) -> list[Call]:
    return [Call(principal=c.principal, action=c.action, resource=c.resource, context={**STANDING, **c.context},
                 what=f"implied: {c.does}") for c in iam_implied.calls(policies)]


def assumed(policies: Policies) -> list[Call]:
    """Every role taken by the service that it is for."""
    return [Call(principal=role.service, action="sts:AssumeRole", resource=role.arn, context={},
                 what=f"{role.service} assumes {role.id}") for role in policies.roles.values()]


def simulate(calls: Sequence[Call], policies: Policies) -> list[Answer]:
    """One answer per call, in order."""
    identity = {f"{role.arn}/{name}": document for role in policies.roles.values()
                for name, document in role.policies.items()}
    identity |= {f"{role.arn}#boundary": role.boundary for role in policies.roles.values() if role.boundary}
    resource = {**policies.resources, **{role.arn: role.trust for role in policies.roles.values()}}
    asked = [_request(call, policies) for call in calls]
    node = shutil.which("node")
    if node is None or not (ROOT / "node_modules" / "@cloud-copilot").is_dir():
        raise RuntimeError("the policy simulator is not installed: run `make setup-dev`")
    done = subprocess.run([node, str(SIMULATOR)], input=json.dumps(
        {"identity": identity, "resource": resource, "calls": asked}), capture_output=True, text=True, check=False,
        cwd=ROOT, timeout=300)
    if done.returncode:
        raise RuntimeError(f"the policy simulator failed: {done.stderr[-2000:]}")
    answers = json.loads(done.stdout)
    assert len(answers) == len(calls)
    return [Answer(call=call, result=a["result"], ignored=tuple(a["ignored"]))
            for call, a in zip(calls, answers, strict=True)]


def _request(call: Call, policies: Policies) -> dict[str, Any]:
    role = policies.roles.get(call.principal)
    trusted = call.action == "sts:AssumeRole"
    return {
        "principal": _session(role) if role else call.principal,
        "action": call.action,
        "resource": call.resource.replace(_ANY_SCALABLE_TARGET, "scalable-target/0123456789abcdef"),
        "account": policies.account,
        "context": {**(_STANDING_S3 if call.action.startswith("s3:") else {}), **call.context},
        "identity": [f"{role.arn}/{name}" for name in role.policies] if role else [],
        "boundary": [f"{role.arn}#boundary"] if role and role.boundary else [],
        "resourcePolicy": call.resource if trusted else policies.of_resource(call.resource),
    }


def _session(role: Role) -> str:
    return f"arn:aws:sts::{role.arn.split(':')[4]}:assumed-role/{role.arn.rsplit('/', 1)[-1]}/session"


def unseen_conditions(answers: Iterable[Answer], policies: Policies) -> list[str]:
    """Condition keys that a policy asks for and the simulator never looked at: that policy would pass unread."""
    asked = {key.lower() for document in _documents(policies) for key in _condition_keys(document)}
    return sorted({key for answer in answers for key in answer.ignored if key.lower() in asked})


def _documents(policies: Policies) -> list[Document]:
    return [d for role in policies.roles.values() for d in role.policies.values()] + list(policies.resources.values())


def _condition_keys(document: Document) -> list[str]:
    return [key for statement in as_list(document["Statement"])
            for keys in statement.get("Condition", {}).values() for key in keys]

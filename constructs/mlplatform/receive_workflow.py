"""Outside home: the machine that receives home's signed models, once an hour and when somebody starts it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from aws_cdk import aws_kms as kms

from constructs import Construct
from contracts import naming
from contracts.deployments import HOME
from contracts.story import StoryContract
from mlplatform.approval import ask_for_approval
from mlplatform.eventing import Schedule
from mlplatform.leased_run import reject_version
from mlplatform.policies import Statement, allow, read_prefixes
from mlplatform.receive_states import receive_states
from mlplatform.state_machine import StateMachine, run_child

HOME_KEY_CONTEXT = "home_key_sha256"
UNSET = "unset"  # receives nothing: a deployment that was never told home's key believes nobody
HOME_ARTIFACTS = naming.bucket(naming.ARTIFACTS, HOME.name, "${AWS::AccountId}")


@dataclass(frozen=True, kw_only=True)
class ReceiveWorkflowProps:
    """`functions`: substitution name -> ARN, for Lease, KillSwitches, ReceivePlan, ReceiveCopy, Promote, Audit."""

    story: StoryContract
    functions: Mapping[str, str]
    release: StateMachine
    topic_arn: str
    key: kms.IKey


class ReceiveWorkflow(Construct):
    def __init__(self, scope: Construct, id_: str, *, props: ReceiveWorkflowProps) -> None:
        super().__init__(scope, id_)
        slug = props.story.slug
        self.machine = StateMachine(
            self, "Machine", name=naming.receive_state_machine(slug), start="Defaults", key=props.key,
            comment=f"{props.story.entry.code}: receive the version of {slug} that home serves",
            states=receive_states(slug=slug, approval_within_s=props.story.approval_within_s),
            substitutions={**props.functions, "ReleaseMachine": props.release.arn, "OnCallTopic": props.topic_arn},
            statements=[allow("lambda:InvokeFunction", on=list(props.functions.values())), *run_child(props.release),
                        reject_version(slug), allow("sns:Publish", on=props.topic_arn),
                        *([] if props.story.approval_within_s is None else [ask_for_approval(slug)])],
        )
        Schedule(self, "Hourly", name=naming.receive_schedule(slug), expression="rate(1 hour)", time_zone="UTC",
                 target_arn=self.machine.arn, action="states:StartExecution", body={"trigger": "hourly"})


def home_key_sha256(scope: Construct) -> str:
    """The pinned SHA-256 of home's public signing key, from the app's context."""
    pin = scope.node.try_get_context(HOME_KEY_CONTEXT) or UNSET
    if pin != UNSET and not re.fullmatch("[0-9a-f]{64}", str(pin)):
        raise ValueError(f"context `{HOME_KEY_CONTEXT}` must be 64 hex digits, the SHA-256 of home's public signing "
                         f"key (DER), got {pin!r}")
    return str(pin)


def read_home(slug: str) -> list[Statement]:
    """Published models of one story, and decryption through S3 only: weights travel, customer data never."""
    return [
        *read_prefixes(f"arn:${{AWS::Partition}}:s3:::{HOME_ARTIFACTS}", naming.all_models_prefix(slug)),
        # Home's key has an id that no other region's template can know; S3 is the only way to it.
        allow("kms:Decrypt", on=f"arn:${{AWS::Partition}}:kms:{HOME.region}:${{AWS::AccountId}}:key/*",
              when={"StringEquals": {"kms:ViaService": f"s3.{HOME.region}.amazonaws.com"}}),
    ]

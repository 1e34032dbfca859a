"""Where an event goes that nobody could take: kept for two weeks, TLS only."""

from __future__ import annotations

from aws_cdk import aws_sqs as sqs

from constructs import Construct
from mlplatform.policies import ACCOUNT, Statement, document

KEPT_S = 14 * 24 * 3_600  # SQS keeps no longer


class DeadLetters(Construct):
    """SSE-SQS, which Lambda, EventBridge and Scheduler may all write to without a grant on a key.

    `open_to`: the service that writes without a role of its own; who has a role gets a grant there.
    """

    def __init__(self, scope: Construct, id_: str, *, open_to: str | None = None) -> None:
        super().__init__(scope, id_)
        queue = sqs.CfnQueue(self, "Resource", sqs_managed_sse_enabled=True, message_retention_period=KEPT_S)
        self.arn: str = queue.attr_arn
        statements: list[Statement] = [
            {"Effect": "Deny", "Action": "sqs:*", "Principal": {"AWS": "*"}, "Resource": self.arn,
             "Condition": {"Bool": {"aws:SecureTransport": "false"}}}]
        if open_to:
            statements.append({"Sid": "RuleMaySend", "Effect": "Allow", "Action": "sqs:SendMessage",
                               "Principal": {"Service": open_to}, "Resource": self.arn,
                               "Condition": {"StringEquals": {"aws:SourceAccount": ACCOUNT}}})
        sqs.CfnQueuePolicy(self, "Policy", queues=[queue.ref], policy_document=document(*statements))

"""Findings of cdk-nag's NIST 800-53 R5 rules that stay, each with its reason.

Plain data, like the AwsSolutions ones beside it: a test runs the pack and demands that its findings
and these rows cover each other.
"""

from __future__ import annotations

from mlplatform.rules import Acknowledged


def _stays(control: str, *at: str, because: str) -> Acknowledged:
    return Acknowledged(finding=f"NIST.800.53.R5-{control}", at=at, because=because)


_ALL_FUNCTIONS = ("*/Functions/Room/*/Default", "Operations/FreezeGuard/Room/FreezeGuard/Default")

NIST_ACKNOWLEDGEMENTS: tuple[Acknowledged, ...] = (
    _stays("S3BucketReplicationEnabled",
           *(f"Data/Buckets/{name}/Resource" for name in ("AccessLogs", "Lake", "Artifacts", "Capture")),
           because="replication contradicts residency: a bucket serves one region, and versions, retention and signed "
                   "regional copies of models cover loss"),
    _stays("S3DefaultEncryptionKMS", "Data/Buckets/AccessLogs/Resource",
           because="S3 delivers access logs only to buckets with SSE-S3; they hold object keys, not objects"),
    _stays("DynamoDBInBackupPlan", "Data/Control/Resource", "Data/Audit/Resource",
           because="point-in-time recovery and deletion protection cover 35 days; leases and pointers older than that "
                   "mean nothing, and the audit table can't be rewritten"),
    _stays("ElastiCacheRedisClusterAutomaticBackup", "Platform/InferenceCache/Default",
           because="it holds answers that the models give again; a backup would be one more copy of them"),
    _stays("SecretsManagerRotationEnabled", "Platform/InferenceCache/KeySecret",
           because="a new secret empties the cache: it is changed by hand, when it may have leaked"),
    _stays("SecretsManagerRotationEnabled", "Platform/LabelInbox/*Secret",
           because="a vendor must be told its new secret by a person: it is changed by hand"),
    _stays("VPCDefaultSecurityGroupClosed", "Platform/Network/Vpc/Resource",
           because="nothing is ever put into the default group, and closing it adds a Node function of CDK's own with "
                   "the right to change security groups"),
    _stays("IAMNoInlinePolicy", "*Role",
           because="a role that SageMaker uses the moment it exists needs its policy in the same breath; each is for "
                   "one purpose and shared by nobody"),
    _stays("LambdaConcurrency", *_ALL_FUNCTIONS,
           because="a reserved share of the account's concurrency is its owner's to give; leases and idempotent names "
                   "bound what runs at once"),
    _stays("LambdaDLQ", "Platform/Functions/Room/ImageBuilder/Default",
           because="it answers CloudFormation itself, failures included, and a stack that gets no answer fails"),
    _stays("LambdaDLQ", *(f"Platform/Functions/Room/{name}/Default" for name in ("Lease", "KillSwitches", "Audit")),
           *(f"*/Functions/Room/{name}/Default" for name in
             ("RunPlan", "Judge", "Publish", "ReleasePlan", "ReleaseCheck", "CanaryJudge", "Promote", "Announce",
              "ReceivePlan", "ReceiveCopy")),
           because="called and waited for by a state machine, which retries and catches; a dead-letter queue takes "
                   "asynchronous calls only"),
    _stays("LambdaDLQ", "Platform/Functions/Room/VendorCallback/Default",
           because="API Gateway waits for its answer and the vendor delivers again; a dead-letter queue takes "
                   "asynchronous calls only"),
    _stays("LambdaInsideVPC", *_ALL_FUNCTIONS,
           because="they call AWS APIs only, which a VPC without NAT reaches by interface endpoints at about 300 USD a "
                   "month; none opens a port, and each role names what it may call"),
)

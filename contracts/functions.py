"""Every Lambda function, declared once: its environment, limits and the AWS actions it calls.

The construct writes the environment class and grants `actions`; the handler parses the same
class. A handler's path is `lambdas.<name>.handler.handler`.
"""

from __future__ import annotations

from dataclasses import dataclass

from contracts.environment import Environment


@dataclass(frozen=True, kw_only=True)
class NoEnv(Environment):
    """For a function that finds all it needs in its event and in contracts."""


@dataclass(frozen=True, kw_only=True)
class LeaseEnv(Environment):
    CONTROL_TABLE: str
    LEASE_TTL_S: int  # longer than the longest execution; a holder that can't be asked about blocks this long at most


@dataclass(frozen=True, kw_only=True)
class RunPlanEnv(Environment):
    CONTROL_TABLE: str
    LAKE_BUCKET: str
    ARTIFACTS_BUCKET: str


@dataclass(frozen=True, kw_only=True)
class JudgeEnv(Environment):
    ARTIFACTS_BUCKET: str  # evidence is read from here and nowhere else


@dataclass(frozen=True, kw_only=True)
class PublishEnv(Environment):
    ARTIFACTS_BUCKET: str
    SIGNING_KEY_ARN: str
    SERVING_IMAGE: str  # repository URI pinned by digest


@dataclass(frozen=True, kw_only=True)
class ReleasePlanEnv(Environment):
    CONTROL_TABLE: str
    SIGNING_KEY_ARN: str
    MODEL_PACKAGE_GROUP_ARN: str


@dataclass(frozen=True, kw_only=True)
class ReleaseCheckEnv(Environment):
    CONTROL_TABLE: str


@dataclass(frozen=True, kw_only=True)
class CanaryJudgeEnv(Environment):
    CONTROL_TABLE: str


@dataclass(frozen=True, kw_only=True)
class PromoteEnv(Environment):
    CONTROL_TABLE: str
    AUDIT_TABLE: str


@dataclass(frozen=True, kw_only=True)
class AnnounceEnv(Environment):
    CONTROL_TABLE: str
    ARTIFACTS_BUCKET: str
    SIGNING_KEY_ARN: str


@dataclass(frozen=True, kw_only=True)
class ReceivePlanEnv(Environment):
    CONTROL_TABLE: str
    HOME_BUCKET: str  # home's artifacts bucket, read below models/SLUG/ only
    HOME_REGION: str
    HOME_KEY_SHA256: str  # of home's public signing key; `unset` refuses everything


@dataclass(frozen=True, kw_only=True)
class ReceiveCopyEnv(Environment):
    ARTIFACTS_BUCKET: str
    SIGNING_KEY_ARN: str  # this region's own
    SERVING_IMAGE: str
    HOME_BUCKET: str
    HOME_REGION: str
    HOME_KEY_SHA256: str


@dataclass(frozen=True, kw_only=True)
class AuditEnv(Environment):
    AUDIT_TABLE: str


@dataclass(frozen=True, kw_only=True)
class AuditCheckpointEnv(Environment):
    AUDIT_TABLE: str
    ARTIFACTS_BUCKET: str
    SIGNING_KEY_ARN: str


@dataclass(frozen=True, kw_only=True)
class VendorCallbackEnv(Environment):
    LAKE_BUCKET: str


@dataclass(frozen=True, kw_only=True)
class DriftMonitorEnv(Environment):
    CONTROL_TABLE: str
    CAPTURE_BUCKET: str
    CAPTURE_DELAY_S: int  # a scheduled window ends this long ago: Firehose buffers


@dataclass(frozen=True, kw_only=True)
class DriftTriggerEnv(Environment):
    STORY: str
    CONTROL_TABLE: str
    RETRAIN_STATE_MACHINE_ARN: str


@dataclass(frozen=True, kw_only=True)
class ImageBuilderEnv(Environment):
    POLL_S: int  # longest pause between two looks at a build


@dataclass(frozen=True, kw_only=True)
class FunctionContract:
    """One function. `actions` is all it may call; the construct scopes them to resources.

    Shared functions serve every story (one per deployment); the others exist once per story.
    """

    name: str
    environment: type[Environment]
    actions: tuple[str, ...]
    shared: bool = False
    timeout_s: int = 30
    memory_mb: int = 256
    asynchronous: bool = False  # invoked by an event: needs a dead-letter queue
    only_at: str = ""  # `home` or `receiving`; empty: in every deployment

    @property
    def handler(self) -> str:
        return f"lambdas.{self.name}.handler.handler"


_KMS_DATA = ("kms:Decrypt", "kms:GenerateDataKey")  # buckets and tables are encrypted with the data key
_READ_OBJECTS = ("s3:GetObject", "s3:ListBucket")

LEASE = FunctionContract(
    name="lease", environment=LeaseEnv, shared=True,
    # DescribeExecution: has the holder that is in the way ended?
    actions=("dynamodb:GetItem", "dynamodb:UpdateItem", "states:DescribeExecution", *_KMS_DATA),
)
KILL_SWITCHES = FunctionContract(
    name="kill_switches", environment=NoEnv, shared=True, actions=("ssm:GetParameters",),
)
AUDIT = FunctionContract(
    # Query: where the chain ends
    name="audit", environment=AuditEnv, shared=True, actions=("dynamodb:PutItem", "dynamodb:Query", *_KMS_DATA),
)
AUDIT_CHECKPOINT = FunctionContract(
    # may sign heads and write below audit/checkpoints/, but no record; timeout: one KMS call per chain
    name="audit_checkpoint", environment=AuditCheckpointEnv, shared=True, timeout_s=120, asynchronous=True,
    actions=("dynamodb:Query", "s3:ListBucket", "s3:PutObject", *_KMS_DATA, "kms:Sign"),
)
VENDOR_CALLBACK = FunctionContract(
    # lists tasks/ and puts below inbox/ of the lake; reads no object. Strangers reach it: nothing more than that
    name="vendor_callback", environment=VendorCallbackEnv, shared=True, memory_mb=512, only_at="home",
    actions=("secretsmanager:GetSecretValue", "s3:ListBucket", "s3:PutObject", *_KMS_DATA),
)
RUN_PLAN = FunctionContract(
    # s3:PutObject only below naming.no_champion_prefix(slug): the marker that stands for "no champion yet"
    name="run_plan", environment=RunPlanEnv, actions=("dynamodb:GetItem", "s3:PutObject", *_KMS_DATA),
)
JUDGE = FunctionContract(
    # reads and writes below runs/SLUG/ in the artifacts bucket
    name="judge", environment=JudgeEnv, actions=(*_READ_OBJECTS, "s3:PutObject", *_KMS_DATA),
)
PUBLISH = FunctionContract(
    # reads runs/SLUG/, reads and writes models/SLUG/ in the artifacts bucket; signing key; the story's group
    name="publish", environment=PublishEnv, timeout_s=600, memory_mb=1024,
    actions=(*_READ_OBJECTS, "s3:PutObject", *_KMS_DATA, "kms:Sign", "kms:Verify",
             "sagemaker:CreateModelPackage", "sagemaker:DescribeModelPackage", "sagemaker:ListModelPackages"),
)
RELEASE_PLAN = FunctionContract(
    # reads models/SLUG/; GetParameter on the serving spec, GetParameters on the technique flags;
    # DeleteEndpoint because nothing else may be done with a Failed endpoint; DescribeAlarms on the guardrails;
    # DescribeEndpointConfig: a shadow stands beside the champion as it serves
    name="release_plan", environment=ReleasePlanEnv, timeout_s=60,
    actions=("dynamodb:GetItem", "dynamodb:PutItem", *_READ_OBJECTS, *_KMS_DATA, "kms:Verify",
             "kms:GetPublicKey", "ssm:GetParameter", "ssm:GetParameters",
             "sagemaker:DescribeEndpoint", "sagemaker:DeleteEndpoint", "sagemaker:DescribeEndpointConfig",
             "sagemaker:DescribeModelPackage", "cloudwatch:PutMetricData", "cloudwatch:DescribeAlarms"),
)
RELEASE_CHECK = FunctionContract(
    name="release_check", environment=ReleaseCheckEnv, timeout_s=60,
    actions=("dynamodb:GetItem", "dynamodb:PutItem", *_KMS_DATA, "ssm:GetParameter",
             "sagemaker:DescribeEndpoint", "sagemaker:InvokeEndpoint",
             "application-autoscaling:RegisterScalableTarget", "application-autoscaling:PutScalingPolicy",
             # both are called by Application Auto Scaling on the caller's behalf
             "cloudwatch:PutMetricAlarm", "iam:CreateServiceLinkedRole"),
)
CANARY_JUDGE = FunctionContract(
    # reads the pointer, for the champion's version; GetMetricData knows no resources; FilterLogEvents on the endpoint's
    # log group; timeout: a busy log has many pages
    name="canary_judge", environment=CanaryJudgeEnv, timeout_s=60,
    actions=("dynamodb:GetItem", *_KMS_DATA, "cloudwatch:GetMetricData", "logs:FilterLogEvents"),
)
PROMOTE = FunctionContract(
    name="promote", environment=PromoteEnv,
    actions=("dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Query", "dynamodb:ConditionCheckItem", *_KMS_DATA,
             "sagemaker:DescribeModelPackage", "sagemaker:UpdateModelPackage"),
)
ANNOUNCE = FunctionContract(
    # writes naming.announcement(slug) and nothing else
    name="announce", environment=AnnounceEnv, only_at="home",
    actions=("dynamodb:GetItem", "s3:PutObject", *_KMS_DATA, "kms:Sign", "kms:GetPublicKey"),
)
RECEIVE_PLAN = FunctionContract(
    # of S3, models/SLUG/ of home's artifacts bucket only
    name="receive_plan", environment=ReceivePlanEnv, timeout_s=120, only_at="receiving",
    actions=(*_READ_OBJECTS, *_KMS_DATA, "dynamodb:GetItem", "sagemaker:DescribeModelPackage",
             "sagemaker:ListModelPackages"),
)
RECEIVE_COPY = FunctionContract(
    # outside the VPC, whose S3 endpoint refuses cross-region reads; goes on in another call when time is short
    name="receive_copy", environment=ReceiveCopyEnv, timeout_s=900, memory_mb=1024, only_at="receiving",
    actions=(*_READ_OBJECTS, "s3:PutObject", *_KMS_DATA, "kms:Sign", "kms:Verify", "sagemaker:CreateModelPackage",
             "sagemaker:DescribeModelPackage", "sagemaker:ListModelPackages"),
)
DRIFT_MONITOR = FunctionContract(
    # capture/SLUG/ and feedback/SLUG/ in the capture bucket, models/SLUG/ in the artifacts bucket; writes
    # drift-windows/SLUG/
    name="drift_monitor", environment=DriftMonitorEnv, timeout_s=300, memory_mb=1024, asynchronous=True,
    actions=("dynamodb:GetItem", *_READ_OBJECTS, "s3:PutObject", *_KMS_DATA, "cloudwatch:PutMetricData"),
)
DRIFT_TRIGGER = FunctionContract(
    name="drift_trigger", environment=DriftTriggerEnv, asynchronous=True,
    actions=("dynamodb:GetItem", "dynamodb:PutItem", *_KMS_DATA, "ssm:GetParameters", "states:StartExecution"),
)
FREEZE_GUARD = FunctionContract(
    name="freeze_guard", environment=NoEnv, shared=True, asynchronous=True,
    actions=("ssm:GetParameters", "sagemaker:DescribeEndpoint", "cloudwatch:PutMetricData"),
)
IMAGE_BUILDER = FunctionContract(
    # a build longer than the function goes on in a fresh invocation of itself; its build gets IMAGE_TAG
    name="image_builder", environment=ImageBuilderEnv, shared=True, timeout_s=900,
    actions=("codebuild:StartBuild", "codebuild:BatchGetBuilds", "ecr:DescribeImages",
             "ecr:DescribeRepositories", "lambda:InvokeFunction"),
)

FUNCTIONS: dict[str, FunctionContract] = {f.name: f for f in (
    LEASE, KILL_SWITCHES, AUDIT, AUDIT_CHECKPOINT, VENDOR_CALLBACK, RUN_PLAN, JUDGE, PUBLISH, RELEASE_PLAN,
    RELEASE_CHECK, CANARY_JUDGE, PROMOTE, ANNOUNCE, RECEIVE_PLAN, RECEIVE_COPY, DRIFT_MONITOR, DRIFT_TRIGGER,
    FREEZE_GUARD, IMAGE_BUILDER,
)}

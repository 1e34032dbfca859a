"""What services do by themselves in the name of our roles: never an API call of ours, so never in the record.

A row says which roles, what, on what, and where AWS says so. Each is asked of the simulator beside the recorded calls;
a row that fits no role is stale and fails the check. `roles` are patterns over logical ids without their hash.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from tests.support.iam_policies import Policies

ROLES_PAGE = "https://docs.aws.amazon.com/sagemaker/latest/dg/sagemaker-roles.html"
EXECUTION_PAGE = "https://docs.aws.amazon.com/lambda/latest/dg/lambda-intro-execution-role.html"
EMR_LOGS_PAGE = "https://docs.aws.amazon.com/emr/latest/EMR-Serverless-UserGuide/logging.html"
LOGS = "arn:aws:logs:{region}:{account}:log-group:"

LABEL_JOBS = ("FreezeRole", "LabelIngestJobRole", "LabelExpiryJobRole")
JOBS = (*LABEL_JOBS, "TrainingPrepareRole", "TrainingTrainRole", "TrainingEvaluateRole")
ISOLATED = (*JOBS[3:], "EndpointRole")  # these sit in the VPC
FUNCTIONS = ("FunctionsRoom*Role", "FreezeGuardRoom*Role")
MACHINES = ("*MachineRole",)
DATA_KEY = "{DataKey}"


@dataclass(frozen=True, kw_only=True)
class Implied:
    roles: tuple[str, ...]
    does: str
    actions: tuple[str, ...]
    on: str  # {region}, {account}, {LogicalId} for that thing's ARN, {Logs} for the logs beside the role
    source: str
    context: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ImpliedCall:
    principal: str
    action: str
    resource: str
    context: dict[str, str]
    does: str


def _via(service: str) -> dict[str, str]:
    return {"kms:ViaService": f"{service}.{{region}}.amazonaws.com"}


def _pull(roles: tuple[str, ...], repository: str, service: str, source: str) -> tuple[Implied, ...]:
    return (
        Implied(roles=roles, does=f"{service} signs in to pull the image", on="*", source=source,
                actions=("ecr:GetAuthorizationToken",)),
        Implied(roles=roles, does=f"{service} pulls the image", source=source,
                on=f"arn:aws:ecr:{{region}}:{{account}}:repository/mangaassist/{repository}",
                actions=("ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer")),
    )


def _sagemaker_logs(roles: tuple[str, ...], group: str) -> tuple[Implied, ...]:
    return (
        Implied(roles=roles, does="SageMaker makes the container's log", source=ROLES_PAGE,
                on=f"{LOGS}/aws/sagemaker/{group}:log-stream:one",
                actions=("logs:CreateLogStream", "logs:PutLogEvents")),
        Implied(roles=roles, does="SageMaker makes the log group of the first container", source=ROLES_PAGE,
                on=f"{LOGS}/aws/sagemaker/{group}:*", actions=("logs:CreateLogGroup", "logs:DescribeLogStreams")),
        Implied(roles=roles, does="SageMaker reports the instances' load", on="*", source=ROLES_PAGE,
                actions=("cloudwatch:PutMetricData",),
                context={"cloudwatch:namespace": f"/aws/sagemaker/{group.split('/')[0]}"}),
    )


IMPLIED: tuple[Implied, ...] = (
    # --- SageMaker, with the job's or the model's role
    *_pull(JOBS, "training", "SageMaker", ROLES_PAGE),
    *_pull(("EndpointRole",), "serving", "SageMaker", ROLES_PAGE),
    *_sagemaker_logs((*LABEL_JOBS, "TrainingPrepareRole", "TrainingEvaluateRole"),
                     "ProcessingJobs"),
    *_sagemaker_logs(("TrainingTrainRole",), "TrainingJobs"),
    *_sagemaker_logs(("EndpointRole",), "Endpoints/mangaassist-intent-classifier"),
    Implied(roles=JOBS, does="SageMaker encrypts the result under the output's key", on=DATA_KEY, source=ROLES_PAGE,
            actions=("kms:Encrypt", "kms:GenerateDataKey", "kms:Decrypt", "kms:DescribeKey"), context=_via("s3")),
    Implied(roles=(*LABEL_JOBS, "TrainingPrepareRole", "TrainingEvaluateRole"), on=DATA_KEY,
            does="SageMaker hands the volume's key to EBS", source=ROLES_PAGE, actions=("kms:CreateGrant",),
            context={"kms:GrantIsForAWSResource": "true"}),
    Implied(roles=ISOLATED, does="SageMaker puts the container into the VPC", source=ROLES_PAGE,
            on="arn:aws:ec2:{region}:{account}:network-interface/eni-1",
            actions=("ec2:CreateNetworkInterface", "ec2:CreateNetworkInterfacePermission",
                     "ec2:DeleteNetworkInterface", "ec2:DeleteNetworkInterfacePermission")),
    Implied(roles=ISOLATED, does="SageMaker looks at the VPC", on="*", source=ROLES_PAGE,
            actions=("ec2:DescribeNetworkInterfaces", "ec2:DescribeVpcs", "ec2:DescribeDhcpOptions",
                     "ec2:DescribeSubnets", "ec2:DescribeSecurityGroups")),
    Implied(roles=("EndpointRole", "ReleaseMachineRole"), does="SageMaker watches the guardrails of a canary",
            on="arn:aws:cloudwatch:{region}:{account}:alarm:mangaassist-intent-classifier-guardrail-any",
            actions=("cloudwatch:DescribeAlarms",),
            source="https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails-blue-green.html"),
    Implied(roles=("EndpointRole",), does="SageMaker reads the model", actions=("s3:GetObject",), source=ROLES_PAGE,
            on="{BucketsArtifacts}/models/intent-classifier/1"),
    Implied(roles=("EndpointRole",), does="S3 opens the model for SageMaker", on=DATA_KEY, actions=("kms:Decrypt",),
            context=_via("s3"), source=ROLES_PAGE),
    Implied(roles=("TrainingRole",), does="Pipelines tags the jobs it makes", actions=("sagemaker:AddTags",),
            on="arn:aws:sagemaker:{region}:{account}:training-job/pipelines-one",
            source="https://docs.aws.amazon.com/sagemaker/latest/dg/build-and-manage-access.html"),
    Implied(roles=("TrainingRole",), does="Pipelines tags the jobs it makes", actions=("sagemaker:AddTags",),
            on="arn:aws:sagemaker:{region}:{account}:processing-job/pipelines-one",
            source="https://docs.aws.amazon.com/sagemaker/latest/dg/build-and-manage-access.html"),
    Implied(roles=("CustomerCohortFeaturesRole",), does="Feature Store writes the offline store",
            on="{BucketsLake}/feature-store/intent-classifier/any", actions=("s3:PutObject", "s3:GetObject"),
            source="https://docs.aws.amazon.com/sagemaker/latest/dg/feature-store-adding-policies.html"),
    Implied(roles=("CustomerCohortFeaturesRole",), does="Feature Store looks at the bucket", on="{BucketsLake}",
            actions=("s3:GetBucketAcl", "s3:GetBucketLocation"),
            source="https://docs.aws.amazon.com/sagemaker/latest/dg/feature-store-adding-policies.html"),
    Implied(roles=("CustomerCohortFeaturesRole",), does="Feature Store encrypts the offline store", on=DATA_KEY,
            actions=("kms:Decrypt", "kms:GenerateDataKey"), context=_via("s3"),
            source="https://docs.aws.amazon.com/sagemaker/latest/dg/feature-store-adding-policies.html"),
    # --- Lambda
    Implied(roles=FUNCTIONS, does="Lambda writes the log", on="{Logs}:log-stream:one", source=EXECUTION_PAGE,
            actions=("logs:CreateLogStream", "logs:PutLogEvents")),
    Implied(roles=FUNCTIONS, does="Lambda traces sampled invocations", on="*", source=EXECUTION_PAGE,
            actions=("xray:PutTraceSegments", "xray:PutTelemetryRecords")),
    Implied(roles=FUNCTIONS, does="Lambda opens the environment", on=DATA_KEY, actions=("kms:Decrypt",),
            context=_via("lambda"), source=EXECUTION_PAGE),
    Implied(roles=("FunctionsRoomDriftMonitorRole", "FunctionsRoomDriftTriggerRole", "FunctionsRoomAuditCheckpointRole",
                   "FreezeGuardRoom*Role"),
            does="Lambda puts what failed for good into the dead-letter queue", on="{DeadLetters}",
            actions=("sqs:SendMessage",), source=EXECUTION_PAGE),
    # --- Step Functions
    Implied(roles=MACHINES, does="Step Functions delivers the log", on="*",
            actions=("logs:CreateLogDelivery", "logs:GetLogDelivery", "logs:UpdateLogDelivery",
                     "logs:DeleteLogDelivery", "logs:ListLogDeliveries", "logs:PutResourcePolicy",
                     "logs:DescribeResourcePolicies", "logs:DescribeLogGroups"),
            source="https://docs.aws.amazon.com/step-functions/latest/dg/cw-logs.html"),
    Implied(roles=MACHINES, does="Step Functions traces executions", on="*",
            actions=("xray:PutTraceSegments", "xray:PutTelemetryRecords", "xray:GetSamplingRules",
                     "xray:GetSamplingTargets"),
            source="https://docs.aws.amazon.com/step-functions/latest/dg/concepts-xray-tracing.html"),
    Implied(roles=MACHINES, does="Step Functions encrypts inputs and outputs", on=DATA_KEY,
            actions=("kms:Decrypt", "kms:GenerateDataKey"), context=_via("states"),
            source="https://docs.aws.amazon.com/step-functions/latest/dg/encryption-at-rest.html"),
    Implied(roles=("RetrainMachineRole",), does="Step Functions watches a child through a managed rule",
            on="arn:aws:events:{region}:{account}:rule/StepFunctionsGetEventsForStepFunctionsExecutionRule",
            actions=("events:PutTargets", "events:PutRule", "events:DescribeRule"),
            source="https://docs.aws.amazon.com/step-functions/latest/dg/connect-stepfunctions.html"),
    Implied(roles=("RetrainMachineRole", "LabelIngestMachineRole", "LabelExpiryMachineRole", "FeatureJoinMachineRole"),
            on=DATA_KEY, does="SNS encrypts the notification",
            actions=("kms:Decrypt", "kms:GenerateDataKey"), context=_via("sns"),
            source="https://docs.aws.amazon.com/sns/latest/dg/sns-key-management.html"),
    # --- EMR Serverless, with the job's role
    Implied(roles=("FeatureJoinJobRole",), does="EMR Serverless looks for the log group", on="*",
            actions=("logs:DescribeLogGroups",), source=EMR_LOGS_PAGE),
    Implied(roles=("FeatureJoinJobRole",), does="EMR Serverless writes the driver's log", source=EMR_LOGS_PAGE,
            on="{FeatureJoinLogs}:log-stream:one",
            actions=("logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents")),
    Implied(roles=("FeatureJoinJobRole",), does="EMR Serverless copies the driver's log", actions=("s3:PutObject",),
            on="{BucketsArtifacts}/runs/feature-join/applications/any", source=EMR_LOGS_PAGE),
    Implied(roles=("FeatureJoinJobRole",), does="S3 encrypts what the job reads and writes", on=DATA_KEY,
            actions=("kms:Decrypt", "kms:GenerateDataKey"), context=_via("s3"),
            source="https://docs.aws.amazon.com/emr/latest/EMR-Serverless-UserGuide/security-iam-runtime-role.html"),
    # --- Firehose
    Implied(roles=("CaptureRole",), does="Firehose delivers", actions=("s3:PutObject", "s3:AbortMultipartUpload"),
            on="{BucketsCapture}/capture/intent-classifier/2026/11/01/00/part",
            source="https://docs.aws.amazon.com/firehose/latest/dev/controlling-access.html"),
    Implied(roles=("CaptureRole",), does="Firehose delivers what it could not", actions=("s3:PutObject",),
            on="{BucketsCapture}/capture-errors/intent-classifier/2026/part",
            source="https://docs.aws.amazon.com/firehose/latest/dev/controlling-access.html"),
    Implied(roles=("CaptureRole",), does="Firehose looks at the bucket", on="{BucketsCapture}",
            actions=("s3:GetBucketLocation", "s3:ListBucket", "s3:ListBucketMultipartUploads"),
            source="https://docs.aws.amazon.com/firehose/latest/dev/controlling-access.html"),
    Implied(roles=("CaptureRole",), does="Firehose encrypts what it holds and delivers", on=DATA_KEY,
            actions=("kms:Decrypt", "kms:GenerateDataKey"), context=_via("s3"),
            source="https://docs.aws.amazon.com/firehose/latest/dev/controlling-access.html"),
    Implied(roles=("CaptureRole",), does="Firehose logs a failed delivery", on="{Logs}:log-stream:one",
            actions=("logs:PutLogEvents",),
            source="https://docs.aws.amazon.com/firehose/latest/dev/controlling-access.html"),
    # --- Scheduler, EventBridge, CodeBuild, flow logs
    Implied(roles=("LabelInboxOnDeliveryRole",), does="EventBridge starts the settling of a delivery's task",
            on="{LabelIngestMachine}", actions=("states:StartExecution",),
            source="https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-use-identity-based.html"),
    Implied(roles=("LabelExpiryWeeklyRole",), does="Scheduler starts the weekly expiry", on="{LabelExpiryMachine}",
            actions=("states:StartExecution",),
            source="https://docs.aws.amazon.com/scheduler/latest/UserGuide/setting-up.html"),
    Implied(roles=("FunctionsRoomVendorCallbackRole",), does="Secrets Manager opens a vendor's secret", on=DATA_KEY,
            actions=("kms:Decrypt",), context=_via("secretsmanager"),
            source="https://docs.aws.amazon.com/secretsmanager/latest/userguide/security-encryption.html"),
    Implied(roles=("RetrainWeeklyRole", "DriftHourlyRole", "DriftDeferredRole", "FunctionsSignAuditHeadsRole",
                   "LabelExpiryWeeklyRole"),
            does="Scheduler keeps what it could not deliver", on="{Undelivered}", actions=("sqs:SendMessage",),
            source="https://docs.aws.amazon.com/scheduler/latest/UserGuide/configuring-schedule-dlq.html"),
    Implied(roles=("RetrainWeeklyRole",), does="Scheduler starts the weekly run", on="{RetrainMachine}",
            actions=("states:StartExecution",),
            source="https://docs.aws.amazon.com/scheduler/latest/UserGuide/setting-up.html"),
    Implied(roles=("RetrainSpecChangeRole",), does="EventBridge starts the run of a changed spec",
            on="{RetrainMachine}", actions=("states:StartExecution",),
            source="https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-use-identity-based.html"),
    Implied(roles=("DriftHourlyRole",), does="Scheduler calls the drift monitor", on="{FunctionsRoomDriftMonitor}",
            actions=("lambda:InvokeFunction",),
            source="https://docs.aws.amazon.com/scheduler/latest/UserGuide/setting-up.html"),
    Implied(roles=("DriftDeferredRole",), does="Scheduler calls the drift trigger once more",
            on="{FunctionsRoomDriftTrigger}", actions=("lambda:InvokeFunction",),
            source="https://docs.aws.amazon.com/scheduler/latest/UserGuide/setting-up.html"),
    Implied(roles=("FunctionsSignAuditHeadsRole",), does="Scheduler has the heads of the audit trail signed",
            on="{FunctionsRoomAuditCheckpoint}", actions=("lambda:InvokeFunction",),
            source="https://docs.aws.amazon.com/scheduler/latest/UserGuide/setting-up.html"),
    *_pull(("TrainingImageBuildRole",), "training", "CodeBuild",
           "https://docs.aws.amazon.com/codebuild/latest/userguide/sample-ecr.html"),
    *_pull(("ServingImageBuildRole",), "serving", "CodeBuild",
           "https://docs.aws.amazon.com/codebuild/latest/userguide/sample-ecr.html"),
    *(Implied(roles=(f"{kind.title()}ImageBuildRole",), does="CodeBuild pushes the image",
              on=f"arn:aws:ecr:{{region}}:{{account}}:repository/mangaassist/{kind}",
              actions=("ecr:PutImage", "ecr:InitiateLayerUpload", "ecr:UploadLayerPart", "ecr:CompleteLayerUpload"),
              source="https://docs.aws.amazon.com/codebuild/latest/userguide/sample-ecr.html")
      for kind in ("training", "serving")),
    Implied(roles=("*ImageBuildRole",), does="CodeBuild logs the build", on="{Logs}:log-stream:one",
            actions=("logs:CreateLogStream", "logs:PutLogEvents"),
            source="https://docs.aws.amazon.com/codebuild/latest/userguide/setting-up-service-role.html"),
    Implied(roles=("NetworkFlowLogRole",), does="VPC flow logs are written", on="{NetworkFlowLogs}:log-stream:one",
            actions=("logs:CreateLogStream", "logs:PutLogEvents", "logs:DescribeLogStreams"),
            source="https://docs.aws.amazon.com/vpc/latest/userguide/flow-logs-iam-role.html"),
)


def calls(policies: Policies) -> Iterator[ImpliedCall]:
    """Every row for every role that it fits."""
    for row in IMPLIED:
        fits = [r for r in policies.roles.values() if any(fnmatchcase(r.id, pattern) for pattern in row.roles)]
        if not fits:
            raise AssertionError(f"the implied call {row.does!r} fits no role: {row.roles}")
        for role in fits:
            names = {"region": policies.region, "account": policies.account, **policies.arns,
                     **policies.beside(role)}
            for action in row.actions:
                yield ImpliedCall(principal=role.arn, action=action, resource=row.on.format(**names), does=row.does,
                                  context={key: value.format(**names) for key, value in row.context.items()})

"""Findings of cdk-nag's AwsSolutions rules that stay, one by one, each with its reason.

Plain data: synth needs no rule pack. A test runs the pack and demands that its findings and these
are the same set, so neither a new finding nor a stale acknowledgement passes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mlplatform.rules import Acknowledged

from contracts import naming
from contracts.deployments import HOME, Deployment
from contracts.story import StoryContract
from contracts.vendor_callback import VENDORS


def _wildcard(resource: str, *at: str, because: str) -> Acknowledged:
    return Acknowledged(finding=f"AwsSolutions-IAM5[Resource::{resource}]", at=at, because=because)


def _all(paths: str, names: str, *, ending: str = "Role") -> tuple[str, ...]:
    return tuple(f"{paths}/{name}/{ending}" for name in names.split())


_TRACING = "X-Ray's Put calls have no resource-level permissions"
_LATEST = "Python 3.13 is what the libraries of the layer are tested with; 3.14 is a change of its own"
_QUEUE = "it is a dead-letter queue itself: of an EventBridge rule or schedule, which the rule can't see"
_KEYS = "objects below this prefix are made at run time and can't be listed at deploy time"
_LOG_STREAMS = "SageMaker names the log streams of its jobs; the log group is exact"
_JOB = ("ecr:GetAuthorizationToken and ec2:Describe* have no resource-level permissions, and PutMetricData is "
        "limited by its namespace")
_MACHINE = "log delivery and X-Ray have no resource-level permissions"
_METRICS = _TRACING + ", and PutMetricData is limited by its namespace"

_OURS = "arn:<AWS::Partition>:{}:<AWS::Region>:<AWS::AccountId>"
_SHARED = "Platform/Functions/Room"


def _platform(lake: str, artifacts: str, *, home: bool) -> Iterator[Acknowledged]:
    sagemaker = _OURS.format("sagemaker")
    functions = "Lease KillSwitches Audit AuditCheckpoint ImageBuilder" + (" VendorCallback" if home else "")
    job, machine = "Platform/LabelIngest/Job/Role", "Platform/LabelIngest/Machine/Role"
    guard, star = "Operations/FreezeGuard/Room/FreezeGuard", "*"
    yield _wildcard(star, *_all(_SHARED, functions), because=_TRACING)
    yield _wildcard(star, *_all("Platform", "TrainingImage ServingImage", ending="BuildRole"),
                    because="ecr:GetAuthorizationToken has no resource-level permissions")
    yield _wildcard(star, job, because=_JOB)
    yield _wildcard(star, machine, because=_MACHINE)
    yield _wildcard(star, f"{guard}/Role", because=_METRICS)
    yield _wildcard(f"{_OURS.format('ssm')}:parameter{naming.FLAG_ROOT}/*",
                    f"{_SHARED}/KillSwitches/Role",
                    because="the one function that reads the flags of every story, those to come included")
    for prefix in ("incoming/", naming.TASKS_PREFIX, naming.INBOX_PREFIX, naming.ICEBERG_PREFIX, "quarantine/"):
        yield _wildcard(f"{lake}/{prefix}*", job, because=_KEYS)
    yield _wildcard(f"{artifacts}/{naming.ALL_AUDIT_CHECKPOINTS}*", f"{_SHARED}/AuditCheckpoint/Role", because=_KEYS)
    yield _wildcard(f"{_OURS.format('states')}:execution:{naming.PROJECT}-*:*", f"{_SHARED}/Lease/Role",
                    because="it asks whether the execution that holds a lease has ended; names come with executions")
    yield _wildcard(f"{_OURS.format('logs')}:log-group:/aws/sagemaker/ProcessingJobs:*", job,
                    because=_LOG_STREAMS)
    yield _wildcard(f"{sagemaker}:processing-job/{naming.PROJECT}-ingest-*", machine,
                    because="a job is named after its execution")
    yield Acknowledged(finding="AwsSolutions-L1", because=_LATEST,
                       at=(*_all(_SHARED, functions, ending="Default"), f"{guard}/Default"))
    yield Acknowledged(finding="AwsSolutions-SQS3", because=_QUEUE,
                       at=("Operations/FreezeGuard/OnFreeze/Undelivered/Resource",
                           "Platform/Functions/SignAuditHeads/Undelivered/Resource"))
    yield Acknowledged(finding="AwsSolutions-AEC6", at=("Platform/InferenceCache/Default",),
                       because="its one user signs in by IAM, so there is no password to give")
    yield Acknowledged(finding="AwsSolutions-SMG4", at=("Platform/InferenceCache/KeySecret",),
                       because="a new secret empties the cache: it is changed by hand, when it may have leaked")


def _labels_at_home(lake: str, stories: Sequence[StoryContract]) -> Iterator[Acknowledged]:
    """The vendors' call-back and the expiry of snapshots."""
    sagemaker, inbox = _OURS.format("sagemaker"), "Platform/LabelInbox"
    job, machine = "Platform/LabelExpiry/Job/Role", "Platform/LabelExpiry/Machine/Role"
    yield _wildcard("*", job, because=_JOB)
    yield _wildcard("*", machine, because=_MACHINE)
    yield _wildcard(f"{lake}/{naming.INBOX_PREFIX}*", f"{_SHARED}/VendorCallback/Role", because=_KEYS)
    yield _wildcard(f"{lake}/{naming.ICEBERG_PREFIX}*", job, because=_KEYS)
    for story in stories:
        yield _wildcard(f"{lake}/datasets/{story.slug}/*", job, because=_KEYS)
        yield _wildcard(f"{sagemaker}:model-package/{naming.model_package_group(story.slug)}/*", job,
                        because="what every registered version was trained on must be kept")
    yield _wildcard(f"{_OURS.format('logs')}:log-group:/aws/sagemaker/ProcessingJobs:*", job, because=_LOG_STREAMS)
    yield _wildcard(f"{sagemaker}:processing-job/{naming.PROJECT}-expiry-*", machine,
                    because="a job is named after its execution")
    yield Acknowledged(finding="AwsSolutions-SQS3", because=_QUEUE,
                       at=(f"{inbox}/OnDelivery/Undelivered/Resource",
                           "Platform/LabelExpiry/Weekly/Undelivered/Resource"))
    yield Acknowledged(finding="AwsSolutions-APIG4", at=(f"{inbox}/Route",),
                       because="vendors have no AWS identity: each signs its body with a secret of its own, and the "
                               "function verifies that first; an authorizer of API Gateway's sees no body")
    yield Acknowledged(finding="AwsSolutions-SMG4", at=tuple(f"{inbox}/{naming.pascal(v)}Secret" for v in VENDORS),
                       because="a vendor must be told its new secret by a person: it is changed by hand")


def _feature_join(lake: str, artifacts: str) -> Iterator[Acknowledged]:
    """The join on Spark."""
    job, machine = "Platform/FeatureJoin/JobRole", "Platform/FeatureJoin/Machine/Role"
    yield _wildcard("*", machine, because=_MACHINE)
    yield _wildcard("<FeatureJoinApplicationEBAE0181.Arn>/jobruns/*", machine,
                    because="a job run's id is drawn by the service; the application is exact")
    yield _wildcard(f"{lake}/{naming.JOINS_PREFIX.rstrip('/')}*", job, because=_KEYS)
    yield _wildcard(f"{artifacts}/{naming.FEATURE_JOIN_LOGS_PREFIX}*", job, because=_KEYS)
    yield _wildcard("*", job, because="EMR Serverless looks for the log group by a list, which has no resource")


def _story(stack: str, story: StoryContract, *, home: bool, buckets: dict[str, str]) -> Iterator[Acknowledged]:
    slug, functions = story.slug, f"{stack}/Functions/Room"
    traced = "RunPlan Judge Publish Promote ReleaseCheck DriftTrigger"
    traced += " Announce" if home else " ReceivePlan ReceiveCopy"
    yield _wildcard("*", *_all(functions, traced), because=_TRACING)
    yield _wildcard("*", *_all(functions, "ReleasePlan DriftMonitor"), because=_METRICS)
    jobs = (f"{stack}/Training/{name}Role" for name in ("Prepare", "Train", "Evaluate"))
    yield _wildcard("*", *_all(stack, "Endpoint Freeze"), *jobs, because=_JOB)
    yield _wildcard("*", f"{stack}/Retrain/Machine/Role", because=_MACHINE)
    yield _wildcard("*", f"{stack}/Release/Machine/Role",
                    because=_MACHINE + "; PutMetricData is limited by its namespace")
    yield _wildcard("*", *_all(functions, "CanaryJudge"),
                    because=_TRACING + ", and GetMetricData knows no resources")
    yield Acknowledged(finding="AwsSolutions-L1", because=_LATEST,
                       at=_all(functions, f"{traced} ReleasePlan CanaryJudge DriftMonitor", ending="Default"))
    queues = [f"{stack}/Retrain/SpecChange", f"{stack}/Drift/Hourly"]
    queues += [f"{stack}/Retrain/Weekly", f"{stack}/Drift/Trigger", f"{stack}/Drift/Deferred"] if home else \
        [f"{stack}/Receive/Hourly"]
    yield Acknowledged(finding="AwsSolutions-SQS3", because=_QUEUE,
                       at=tuple(f"{q}/Undelivered/Resource" for q in queues))
    yield from _story_buckets(stack, story, buckets)
    yield from _story_services(stack, slug, [naming.pascal(g.name) for g in story.feature_groups])
    if not home:
        yield from _receiving(stack, slug, buckets["Artifacts"])


def _receiving(stack: str, slug: str, artifacts: str) -> Iterator[Acknowledged]:
    functions, machine = f"{stack}/Functions/Room", f"{stack}/Receive/Machine/Role"
    both, models = _all(functions, "ReceivePlan ReceiveCopy"), naming.all_models_prefix(slug)
    yield _wildcard("*", machine, because=_MACHINE)
    yield _wildcard(f"{_OURS.format('states')}:execution:{naming.release_state_machine(slug)}:*", machine,
                    because="a child execution is named after its run")
    yield _wildcard(f"{_OURS.format('sagemaker')}:model-package/{naming.model_package_group(slug)}/*", *both, machine,
                    because="every version makes its own, by name prefix")
    yield _wildcard(f"{artifacts}/{models}*", *_all(functions, "ReceiveCopy"), because=_KEYS)
    home = naming.bucket(naming.ARTIFACTS, HOME.name, "<AWS::AccountId>")
    yield _wildcard(f"arn:<AWS::Partition>:s3:::{home}/{models}*", *both, because=_KEYS)
    yield _wildcard(f"arn:<AWS::Partition>:kms:{HOME.region}:<AWS::AccountId>:key/*", *both,
                    because="the id of home's data key can't be known here; the grant holds through S3 of home only, "
                            "where the role reads nothing but published models")


def _story_buckets(stack: str, story: StoryContract, buckets: dict[str, str]) -> Iterator[Acknowledged]:
    slug, functions, training = story.slug, f"{stack}/Functions/Room", f"{stack}/Training"
    lake, artifacts, capture = buckets["Lake"], buckets["Artifacts"], buckets["Capture"]

    def jobs(names: str) -> tuple[str, ...]:
        return tuple(f"{training}/{name}Role" for name in names.split())

    def keys(prefix: str, *at: str) -> Acknowledged:
        return _wildcard(f"{prefix}*", *at, because=_KEYS)

    freeze = f"{stack}/Freeze/Role"
    yield keys(f"{lake}/{naming.ICEBERG_PREFIX}", freeze)
    yield keys(f"{lake}/{naming.all_datasets_prefix(slug)}", freeze, *jobs("Prepare"))
    yield keys(f"{lake}/{naming.last_good_features_prefix(slug)}", freeze)
    groups = (f"{naming.pascal(g.name)}Features" for g in story.feature_groups)
    yield keys(f"{lake}/{naming.feature_store_prefix(slug)}", freeze, *_all(stack, " ".join(groups)))
    yield keys(f"{artifacts}/{naming.all_models_prefix(slug)}", f"{stack}/Endpoint/Role",
               *_all(functions, "Publish ReleasePlan DriftMonitor"), *jobs("Train Evaluate"))
    yield keys(f"{artifacts}/{naming.no_champion_prefix(slug)}", *_all(functions, "RunPlan"))
    yield keys(f"{artifacts}/{naming.all_runs_prefix(slug)}", *_all(functions, "Judge Publish"),
               *jobs("Prepare Train Evaluate"))
    yield keys(f"{artifacts}/{naming.pretrained_prefix(story.encoder)}", *jobs("Train"))
    stream, monitor = f"{stack}/Capture/Role", _all(functions, "DriftMonitor")
    yield keys(f"{capture}/{naming.capture_prefix(slug)}", stream, *monitor)
    yield keys(f"{capture}/capture-errors/{slug}/", stream)
    yield keys(f"{capture}/{naming.feedback_prefix(slug)}", *monitor)
    yield keys(f"{capture}/{naming.drift_windows_prefix(slug)}", *monitor)


def _story_services(stack: str, slug: str, groups: Sequence[str]) -> Iterator[Acknowledged]:
    def arn(service: str, resource: str) -> str:
        return f"{_OURS.format(service)}:{resource}"

    functions, training = f"{stack}/Functions/Room", f"{stack}/Training"
    release, retrain = f"{stack}/Release/Machine/Role", f"{stack}/Retrain/Machine/Role"
    endpoint, freeze = f"{stack}/Endpoint/Role", f"{stack}/Freeze/Role"
    jobs = tuple(f"{training}/{name}Role" for name in ("Prepare", "Train", "Evaluate"))
    name = naming.endpoint(slug)

    def versions(resource: str, *at: str) -> Acknowledged:
        return _wildcard(arn("sagemaker", resource), *at, because="every version and run makes its own, by name prefix")

    yield versions(f"model-package/{naming.model_package_group(slug)}/*",
                   *_all(functions, "Publish ReleasePlan Promote"), retrain)
    yield versions(f"model/{name}-v*", release)
    yield versions(f"endpoint-config/{name}-v*", release, *_all(functions, "ReleasePlan"))
    yield versions(f"processing-job/{naming.freeze_job(slug, '*')}", retrain)
    yield versions(f"pipeline/{naming.pipeline(slug)}/execution/*", retrain)
    yield versions("training-job/pipelines-*", f"{training}/Role")
    yield versions("processing-job/pipelines-*", f"{training}/Role")
    yield _wildcard(arn("states", f"execution:{naming.release_state_machine(slug)}:*"), retrain,
                    because="a child execution is named after its run")
    yield _wildcard(arn("cloudwatch", f"alarm:{naming.guardrail_alarm(slug, '*')}"), endpoint, release,
                    *_all(functions, "ReleasePlan"), because="the guardrail alarms, by their common prefix")
    yield _wildcard(arn("cloudwatch", f"alarm:TargetTracking-endpoint/{name}/*"), *_all(functions, "ReleaseCheck"),
                    because="Application Auto Scaling ends the names of its alarms with an id of its own")
    yield _wildcard(arn("application-autoscaling", "scalable-target/*"), *_all(functions, "ReleaseCheck"),
                    because="a scalable target's id is drawn by the service")
    yield _wildcard(arn("ec2", "network-interface/*"), endpoint, *jobs,
                    because="SageMaker makes interfaces for each job; subnets and security group are exact")
    yield _wildcard(arn("logs", f"log-group:{naming.endpoint_log_group(slug)}:*"), endpoint,
                    *_all(functions, "CanaryJudge"), because=_LOG_STREAMS)
    yield _wildcard(arn("logs", "log-group:/aws/sagemaker/TrainingJobs:*"), jobs[1], because=_LOG_STREAMS)
    yield _wildcard(arn("logs", "log-group:/aws/sagemaker/ProcessingJobs:*"), freeze, jobs[0], jobs[2],
                    because=_LOG_STREAMS)
    named = "SageMaker names the table of an offline store after its creation time"
    yield _wildcard(arn("glue", f"table/{naming.FEATURE_DATABASE}/*"), *(f"{stack}/{g}Features/Role" for g in groups),
                    because=named)
    yield _wildcard(arn("glue", f"table/{naming.FEATURE_DATABASE}/{naming.feature_tables(slug)}"), freeze,
                    because=named)


def acknowledged(deployment: Deployment, stories: Sequence[StoryContract]) -> list[Acknowledged]:
    """All that stays in one deployment."""
    data = naming.stack(deployment.name, "data")
    buckets = {name: f"{data}:ExportsOutputFnGetAttBuckets{name}{hashed}" for name, hashed in _EXPORTS.items()}
    rows = list(_platform(buckets["Lake"], buckets["Artifacts"], home=deployment.home))
    if deployment.home:
        rows += [*_labels_at_home(buckets["Lake"], stories), *_feature_join(buckets["Lake"], buckets["Artifacts"])]
    for story in stories:
        rows += _story(naming.pascal(story.slug), story, home=deployment.home, buckets=buckets)
    return rows


# Exports are named after logical ids, which a test freezes: these buckets hold data.
_EXPORTS = {"Lake": "7E5C8A08Arn3E72523D", "Artifacts": "B9EE6400Arn92A234F0", "Capture": "A74375D4Arn8A4BC4F6"}

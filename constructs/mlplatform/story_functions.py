"""The functions of one story, each with exactly the grants that contracts.functions lists for it."""

from __future__ import annotations

from dataclasses import dataclass

from aws_cdk import aws_kms as kms

from constructs import Construct
from contracts import functions as f
from contracts import metrics, naming
from contracts.deployments import HOME, Deployment
from contracts.kill_switches import GLOBAL_FREEZE
from contracts.story import StoryContract
from mlplatform.buckets import Buckets
from mlplatform.control_tables import AuditTable, ControlTable, append_audit
from mlplatform.kill_switches import read_flags
from mlplatform.model_registry import ModelRegistry
from mlplatform.platform_function import FunctionRoom, PlatformFunction
from mlplatform.policies import (
    ACCOUNT,
    PARTITION,
    Statement,
    allow,
    arn,
    arn_of,
    put_metrics,
    read_prefixes,
    use_key,
    write_prefixes,
)
from mlplatform.realtime_endpoint import read_guardrails
from mlplatform.receive_workflow import HOME_ARTIFACTS, home_key_sha256, read_home

_SCALING_SERVICE = "sagemaker.application-autoscaling.amazonaws.com"
_SCALING_ROLE = f"aws-service-role/{_SCALING_SERVICE}/AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint"
CAPTURE_DELAY_S = 120  # Firehose buffers a minute, and a minute of grace


@dataclass(frozen=True, kw_only=True)
class StoryFunctionsProps:
    story: StoryContract
    deployment: Deployment
    buckets: Buckets
    control: ControlTable
    audit: AuditTable
    registry: ModelRegistry
    key: kms.IKey
    signing_key: kms.IKey
    serving_image: str  # pinned by digest


class StoryFunctions(Construct):
    def __init__(self, scope: Construct, id_: str, *, props: StoryFunctionsProps) -> None:
        super().__init__(scope, id_)
        self._props, self._slug = props, props.story.slug
        self._room = FunctionRoom(self, "Room", room=self._slug, key=props.key)
        self._data = use_key(arn_of(props.key))
        self._artifacts_arn = props.buckets.artifacts.bucket_arn
        self.run_plan, self.judge, self.publish = self._run_plan(), self._judge(), self._publish()
        self.release_plan, self.release_check = self._release_plan(), self._release_check()
        self.canary_judge = self._canary_judge()
        self.promote, self.drift_monitor = self._promote(), self._drift_monitor()
        if props.deployment.home:
            self.announce = self._announce()
        else:
            self.receive_plan, self.receive_copy = self._receive_plan(), self._receive_copy()

    # --- grants that several share ------------------------------------------------

    def _control(self, *actions: str) -> Statement:
        return allow(*(f"dynamodb:{a}" for a in actions), on=self._props.control.arn)

    def _read_artifacts(self, *prefixes: str) -> list[Statement]:
        return read_prefixes(self._artifacts_arn, *prefixes)

    def _write_artifacts(self, prefix: str) -> Statement:
        return write_prefixes(self._artifacts_arn, prefix)

    def _endpoint(self, *actions: str) -> Statement:
        return allow(*(f"sagemaker:{a}" for a in actions),
                     on=arn("sagemaker", f"endpoint/{naming.endpoint(self._slug)}"))

    def _packages(self, *actions: str) -> Statement:
        return allow(*(f"sagemaker:{a}" for a in actions),
                     on=[self._props.registry.group_arn, self._props.registry.package_arns])

    def _spec(self) -> Statement:
        return allow("ssm:GetParameter", on=arn("ssm", f"parameter{naming.serving_spec_parameter(self._slug)}"))

    # --- one method per function ----------------------------------------------------

    def _run_plan(self) -> PlatformFunction:
        buckets = self._props.buckets
        return self._room.function(f.RUN_PLAN, environment=f.RunPlanEnv(
            CONTROL_TABLE=self._props.control.name, LAKE_BUCKET=buckets.lake.bucket_name,
            ARTIFACTS_BUCKET=buckets.artifacts.bucket_name,
        ), statements=[self._control("GetItem"), self._write_artifacts(naming.no_champion_prefix(self._slug)),
                       self._data])

    def _judge(self) -> PlatformFunction:
        runs = naming.all_runs_prefix(self._slug)
        return self._room.function(
            f.JUDGE, environment=f.JudgeEnv(ARTIFACTS_BUCKET=self._props.buckets.artifacts.bucket_name),
            statements=[*self._read_artifacts(runs), self._write_artifacts(runs), self._data])

    def _publish(self) -> PlatformFunction:
        models, p = naming.all_models_prefix(self._slug), self._props
        return self._room.function(f.PUBLISH, environment=f.PublishEnv(
            ARTIFACTS_BUCKET=p.buckets.artifacts.bucket_name, SIGNING_KEY_ARN=arn_of(p.signing_key),
            SERVING_IMAGE=p.serving_image,
        ), statements=[
            *self._read_artifacts(naming.all_runs_prefix(self._slug), models), self._write_artifacts(models),
            allow("kms:Sign", "kms:Verify", on=arn_of(p.signing_key),
                  when={"StringEquals": {"kms:MessageType": "DIGEST"}}),
            self._packages("CreateModelPackage", "DescribeModelPackage", "ListModelPackages"), self._data])

    def _release_plan(self) -> PlatformFunction:
        p = self._props
        return self._room.function(f.RELEASE_PLAN, environment=f.ReleasePlanEnv(
            CONTROL_TABLE=p.control.name, SIGNING_KEY_ARN=arn_of(p.signing_key),
            MODEL_PACKAGE_GROUP_ARN=p.registry.group_arn,
        ), statements=[
            self._control("GetItem", "PutItem"), *self._read_artifacts(naming.all_models_prefix(self._slug)),
            allow("kms:Verify", "kms:GetPublicKey", on=arn_of(p.signing_key)),
            self._packages("DescribeModelPackage"), self._spec(), read_flags(p.story.techniques),
            self._endpoint("DescribeEndpoint", "DeleteEndpoint"), read_guardrails(self._slug),
            allow("sagemaker:DescribeEndpointConfig",
                  on=arn("sagemaker", f"endpoint-config/{naming.endpoint(self._slug)}-v*")),
            put_metrics(metrics.NAMESPACE), self._data])

    def _release_check(self) -> PlatformFunction:
        return self._room.function(
            f.RELEASE_CHECK, environment=f.ReleaseCheckEnv(CONTROL_TABLE=self._props.control.name),
            statements=[
                self._control("GetItem", "PutItem"), self._spec(),
                self._endpoint("DescribeEndpoint", "InvokeEndpoint"),
                allow("application-autoscaling:RegisterScalableTarget", "application-autoscaling:PutScalingPolicy",
                      on=arn("application-autoscaling", "scalable-target/*")),
                # Application Auto Scaling makes the tracking alarms in the caller's name.
                allow("cloudwatch:PutMetricAlarm",
                      on=arn("cloudwatch", f"alarm:TargetTracking-endpoint/{naming.endpoint(self._slug)}/*")),
                allow("iam:CreateServiceLinkedRole", on=f"arn:{PARTITION}:iam::{ACCOUNT}:role/{_SCALING_ROLE}",
                      when={"StringEquals": {"iam:AWSServiceName": _SCALING_SERVICE}}),
                self._data])

    def _canary_judge(self) -> PlatformFunction:
        return self._room.function(
            f.CANARY_JUDGE, environment=f.CanaryJudgeEnv(CONTROL_TABLE=self._props.control.name),
            statements=[self._control("GetItem"), self._data,
                        allow("cloudwatch:GetMetricData", on="*"),  # has no resource-level permissions
                        # A log group goes by its name in some calls, and with its streams in others.
                        allow("logs:FilterLogEvents", on=[
                            arn("logs", f"log-group:{naming.endpoint_log_group(self._slug)}{streams}")
                            for streams in ("", ":*")])])

    def _promote(self) -> PlatformFunction:
        p = self._props
        return self._room.function(f.PROMOTE, environment=f.PromoteEnv(
            CONTROL_TABLE=p.control.name, AUDIT_TABLE=p.audit.name,
        ), statements=[
            self._control("GetItem", "PutItem", "ConditionCheckItem"),
            *append_audit(p.audit.arn),
            self._packages("DescribeModelPackage", "UpdateModelPackage"), self._data])

    def _announce(self) -> PlatformFunction:
        p = self._props
        return self._room.function(f.ANNOUNCE, environment=f.AnnounceEnv(
            CONTROL_TABLE=p.control.name, ARTIFACTS_BUCKET=p.buckets.artifacts.bucket_name,
            SIGNING_KEY_ARN=arn_of(p.signing_key),
        ), statements=[
            self._control("GetItem"), allow("s3:PutObject", on=p.buckets.artifacts.arn_for_objects(
                naming.announcement(self._slug))),
            allow("kms:Sign", on=arn_of(p.signing_key), when={"StringEquals": {"kms:MessageType": "DIGEST"}}),
            allow("kms:GetPublicKey", on=arn_of(p.signing_key)), self._data])

    def _home(self) -> dict[str, str]:
        return {"HOME_BUCKET": HOME_ARTIFACTS.replace("${AWS::AccountId}", ACCOUNT), "HOME_REGION": HOME.region,
                "HOME_KEY_SHA256": home_key_sha256(self)}

    def _receive_plan(self) -> PlatformFunction:
        return self._room.function(
            f.RECEIVE_PLAN, environment=f.ReceivePlanEnv(
                CONTROL_TABLE=self._props.control.name, **self._home()),
            statements=[self._control("GetItem"), *read_home(self._slug),
                        self._packages("DescribeModelPackage", "ListModelPackages"), self._data])

    def _receive_copy(self) -> PlatformFunction:
        models, p = naming.all_models_prefix(self._slug), self._props
        return self._room.function(f.RECEIVE_COPY, environment=f.ReceiveCopyEnv(
            ARTIFACTS_BUCKET=p.buckets.artifacts.bucket_name, SIGNING_KEY_ARN=arn_of(p.signing_key),
            SERVING_IMAGE=p.serving_image, **self._home(),
        ), statements=[
            *read_home(self._slug), *self._read_artifacts(models), self._write_artifacts(models),
            allow("kms:Sign", "kms:Verify", on=arn_of(p.signing_key),
                  when={"StringEquals": {"kms:MessageType": "DIGEST"}}),
            self._packages("CreateModelPackage", "DescribeModelPackage", "ListModelPackages"), self._data])

    def _drift_monitor(self) -> PlatformFunction:
        p = self._props
        return self._room.function(f.DRIFT_MONITOR, environment=f.DriftMonitorEnv(
            CONTROL_TABLE=p.control.name, CAPTURE_BUCKET=p.buckets.capture.bucket_name,
            CAPTURE_DELAY_S=CAPTURE_DELAY_S,
        ), statements=[
            self._control("GetItem"), *self._read_artifacts(naming.all_models_prefix(self._slug)),
            *read_prefixes(p.buckets.capture.bucket_arn, naming.capture_prefix(self._slug),
                           naming.feedback_prefix(self._slug), naming.drift_windows_prefix(self._slug)),
            write_prefixes(p.buckets.capture.bucket_arn, naming.drift_windows_prefix(self._slug)),
            put_metrics(metrics.NAMESPACE), self._data])

    def drift_trigger(self, *, machine_arn: str) -> PlatformFunction:
        """Made after the retrain machine, which it starts."""
        return self._room.function(
            f.DRIFT_TRIGGER, environment=f.DriftTriggerEnv(
                STORY=self._slug, CONTROL_TABLE=self._props.control.name, RETRAIN_STATE_MACHINE_ARN=machine_arn),
            statements=[self._control("GetItem", "PutItem"), read_flags((GLOBAL_FREEZE, *self._props.story.flags)),
                        allow("states:StartExecution", on=machine_arn), self._data])

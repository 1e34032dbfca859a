"""The point-in-time join at scale: Spark on EMR Serverless behind a small state machine.

Nothing is initialised ahead, so an idle application costs nothing. A job sits in the isolated subnets and reaches S3
through the gateway endpoint; it calls no other service. It runs on the Python that EMR brings: the script needs pyspark
and a few files of ours, which come from S3 by their content's hash.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from aws_cdk import aws_emrserverless as emrserverless
from aws_cdk import aws_kms as kms

from constructs import Construct
from contracts import naming, workflow
from mlplatform import asl
from mlplatform.buckets import Buckets
from mlplatform.network import Network
from mlplatform.policies import (
    Statement,
    allow,
    arn_of,
    pass_role,
    service_role,
    use_key,
    write_prefixes,
)
from mlplatform.retention import log_group
from mlplatform.staging import archive_asset, file_asset
from mlplatform.state_machine import StateMachine

SERVICE = "emr-serverless.amazonaws.com"
# Spark 3.5.5: https://docs.aws.amazon.com/emr/latest/EMR-Serverless-UserGuide/release-version-7100.html
RELEASE = "emr-7.10.0"
_SCRIPT = "model_code/platform/join_features.py"
MODULES = ("model_code/__init__.py", "model_code/common/__init__.py",
           "model_code/common/point_in_time_definition.py", "model_code/common/point_in_time_spark.py")
# Without the slash: EMR looks at the parents of a folder as well, and marks one as `joins_$folder$`.
_GRANTED = naming.JOINS_PREFIX.rstrip("/")
_IDLE_MINUTES = 5  # the least that is worth while: a second join soon after finds its workers
_MAX_MINUTES = 120  # a job that takes longer is stopped
# Hive's catalogue would be Glue, which the subnets don't reach and the job has no use for.
_SUBMIT = "--py-files ${Modules} --conf spark.sql.catalogImplementation=in-memory"
# A retried start finds its own job run; another execution makes another.
_TOKEN = "States.Hash($$.Execution.Id, 'SHA-1')"
_FOLDER = f"States.Format('s3://${{{{LakeBucket}}}}/{naming.JOINS_PREFIX}{{{{}}}}/{{{{}}}}/', $.story, $.{{}})"


@dataclass(frozen=True, kw_only=True)
class SparkJoinProps:
    buckets: Buckets
    network: Network
    key: kms.IKey
    topic_arn: str


class SparkJoin(Construct):
    """Application, job role and machine; input {"story", "labels", "features", "output", "definition"}.

    `labels`, `features` and `output` name folders below joins/STORY/ of the lake, `definition` is
    PointInTime.to_json().
    """

    def __init__(self, scope: Construct, id_: str, *, props: SparkJoinProps) -> None:
        super().__init__(scope, id_)
        self._props = props
        self._script, self._modules = file_asset(self, "Script", _SCRIPT), archive_asset(self, "Modules", MODULES)
        group = log_group(self, "Logs", name=naming.feature_join_logs(), key_arn=arn_of(props.key))
        self.application = self._application(group.ref)
        self.role = service_role(self, "JobRole", service=SERVICE, statements=self._job_statements(group.attr_arn),
                                 description="Joins labels with what was known at their time, on Spark")
        self.machine = StateMachine(
            self, "Machine", name=naming.feature_join_state_machine(), start="StartJoin", key=props.key,
            comment="Join labels with the features that were known at their time, on Spark", states=join_states(),
            substitutions={
                "Application": self.application.attr_application_id, "JobRole": self.role.role_arn,
                "Script": self._script.s3_object_url, "Modules": self._modules.s3_object_url,
                "LakeBucket": props.buckets.lake.bucket_name, "OnCallTopic": props.topic_arn},
            statements=self._machine_statements(),
        )

    def _application(self, log_group_name: str) -> emrserverless.CfnApplication:
        application, network = emrserverless.CfnApplication, self._props.network
        artifacts = self._props.buckets.artifacts
        return application(
            self, "Application", name=naming.feature_join_state_machine(), release_label=RELEASE, type="SPARK",
            architecture="ARM64",  # the same work for less; nothing of ours is compiled
            auto_start_configuration=application.AutoStartConfigurationProperty(enabled=True),
            auto_stop_configuration=application.AutoStopConfigurationProperty(
                enabled=True, idle_timeout_minutes=_IDLE_MINUTES),
            # A bound on what a mistake may cost; what the largest join needs is far below it.
            maximum_capacity=application.MaximumAllowedResourcesProperty(
                cpu="64 vCPU", memory="256 GB", disk="1000 GB"),
            network_configuration=application.NetworkConfigurationProperty(
                subnet_ids=network.subnet_ids, security_group_ids=network.security_group_ids),
            monitoring_configuration=application.MonitoringConfigurationProperty(
                # AWS's own copy of the logs would lie under AWS's key.
                managed_persistence_monitoring_configuration=(
                    application.ManagedPersistenceMonitoringConfigurationProperty(enabled=False)),
                cloud_watch_logging_configuration=application.CloudWatchLoggingConfigurationProperty(
                    enabled=True, log_group_name=log_group_name),
                # And to S3, which every worker reaches: CloudWatch has an endpoint in the VPC with `full_private` only.
                s3_monitoring_configuration=application.S3MonitoringConfigurationProperty(
                    log_uri=artifacts.s3_url_for_object(naming.FEATURE_JOIN_LOGS_PREFIX),
                    encryption_key_arn=arn_of(self._props.key))),
        )

    def _job_statements(self, log_group_arn: str) -> list[Statement]:
        lake, artifacts = self._props.buckets.lake.bucket_arn, self._props.buckets.artifacts.bucket_arn
        return [
            allow("s3:GetObject", on=[asset.bucket.arn_for_objects(asset.s3_object_key)
                                      for asset in (self._script, self._modules)]),
            # The output is written anew as a whole: what an earlier job left there goes.
            allow("s3:GetObject", "s3:DeleteObject", on=f"{lake}/{_GRANTED}*"),
            write_prefixes(lake, _GRANTED),
            # EMR asks for objects that are not there yet. S3 says so to those who may list, and a question for one
            # object has no prefix: an absent one must pass, or the answer is 403 and the job fails.
            allow("s3:ListBucket", on=lake, when={"StringLikeIfExists": {"s3:prefix": f"{_GRANTED}*"}}),
            write_prefixes(artifacts, naming.FEATURE_JOIN_LOGS_PREFIX),
            use_key(arn_of(self._props.key)),
            allow("logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents", on=log_group_arn),
            # EMR looks for the group by a list, which has no resource.
            allow("logs:DescribeLogGroups", on="*"),
        ]

    def _machine_statements(self) -> list[Statement]:
        application = self.application.attr_arn
        return [
            allow("emr-serverless:StartJobRun", on=application),
            allow("emr-serverless:GetJobRun", "emr-serverless:CancelJobRun", on=f"{application}/jobruns/*"),
            pass_role([self.role.role_arn], to=SERVICE),
            allow("sns:Publish", on=self._props.topic_arn),
        ]


def _request() -> dict[str, Any]:
    folders = ", ".join(f"'--{name}', {_FOLDER.format(name)}" for name in ("labels", "features", "output"))
    return {
        "ApplicationId": "${Application}", "ClientToken.$": _TOKEN, "ExecutionRoleArn": "${JobRole}",
        "Name.$": "$$.Execution.Name", "ExecutionTimeoutMinutes": _MAX_MINUTES,
        "JobDriver": {"SparkSubmit": {
            "EntryPoint": "${Script}", "SparkSubmitParameters": _SUBMIT,
            "EntryPointArguments.$": f"States.Array({folders}, '--definition', $.definition)"}},
    }


def join_states() -> dict[str, asl.State]:
    """A start whose answer was lost is repeated with its token, and the answer then is the run that is there."""
    run = {"ApplicationId": "${Application}", "JobRunId.$": "$.run.JobRunId"}
    return {
        "StartJoin": asl.call("emrserverless", "startJobRun", _request(), next_="WaitJoin", on_error="NotifyFailure",
                              result="$.run", select={"JobRunId.$": "$.JobRunId"}),
        "WaitJoin": asl.wait(workflow.JOIN_POLL_S, next_="DescribeJoin"),
        "DescribeJoin": asl.call("emrserverless", "getJobRun", run, next_="JoinStatus", on_error="CancelJoin",
                                 result="$.job",
                                 select={"State.$": "$.JobRun.State", "Details.$": "$.JobRun.StateDetails"}),
        # A state that EMR may add is not an end: the job's own limit is.
        "JoinStatus": asl.choose(asl.equals("$.job.State", "SUCCESS", "Joined"),
                                 asl.equals("$.job.State", "FAILED", "JobFailed"),
                                 asl.equals("$.job.State", "CANCELLED", "JobFailed"), default="WaitJoin"),
        # Nobody looks at it any more, so it must not run on.
        "CancelJoin": asl.call("emrserverless", "cancelJobRun", run, next_="NotifyFailure", on_error="NotifyFailure",
                               result=None),
        "JobFailed": asl.put({"Error": "JoinJobFailed", "Cause.$": "$.job.Details"}, at="$.error",
                             next_="NotifyFailure"),
        "NotifyFailure": asl.notify("Feature join failed", "States.Format('The join of {} for {} failed ({}). "
                                    "Execution: {}', $.labels, $.story, $.error.Error, $$.Execution.Id)",
                                    next_="Failed"),
        "Joined": asl.succeed(),
        "Failed": asl.fail_saying("JoinFailed", "$.error.Cause"),
    }

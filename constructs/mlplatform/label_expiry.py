"""Once a week, snapshots of the label tables older than 18 months go; never one that a registered model needs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from constructs import Construct
from contracts import naming, workflow
from mlplatform import asl
from mlplatform.eventing import Schedule
from mlplatform.label_platform import LabelJob, LabelJobProps, label_tables, start, waited_for
from mlplatform.policies import allow, arn, read_prefixes, write_prefixes
from mlplatform.state_machine import StateMachine

EXPIRY_JOB_PREFIX = f"{naming.PROJECT}-expiry-"  # with the hash 59 of the 63 characters that a job has
# After the execution: a retry finds its job, and next week's run or one by hand makes another.
_JOB_NAME = f"States.Format('{EXPIRY_JOB_PREFIX}{{}}', States.Hash($$.Execution.Id, 'SHA-1'))"
# Sunday, when no story retrains: a commit of this job makes none of theirs look again.
_WEEKLY = "cron(0 12 ? * SUN *)"


class ExpiryJob(LabelJob):
    """Reads the registry and the manifests of registered models' data sets; writes table metadata."""

    def __init__(self, scope: Construct, id_: str, *, props: LabelJobProps, slugs: Sequence[str]) -> None:
        lake, self._slugs = props.buckets.lake.bucket_arn, slugs
        groups = [naming.model_package_group(slug) for slug in slugs]
        super().__init__(scope, id_, props=props, description="Expires old snapshots of the label tables", statements=[
            *read_prefixes(lake, naming.ICEBERG_PREFIX, *(f"datasets/{slug}/" for slug in slugs)),
            write_prefixes(lake, naming.ICEBERG_PREFIX),
            # Iceberg removes the metadata of a commit that lost its race.
            allow("s3:DeleteObject", on=f"{lake}/{naming.ICEBERG_PREFIX}*"),
            label_tables("GetDatabase", "GetTable", "UpdateTable"),
            allow("sagemaker:ListModelPackages", on=[
                *(arn("sagemaker", f"model-package-group/{group}") for group in groups),
                *(arn("sagemaker", f"model-package/{group}/*") for group in groups)]),
            allow("sagemaker:DescribeModelPackage",
                  on=[arn("sagemaker", f"model-package/{group}/*") for group in groups]),
        ])

    def request(self) -> dict[str, Any]:
        stories = ", ".join(f"'--story', '{slug}'" for slug in self._slugs)
        return self._request(
            "model_code.platform.expire_snapshots", name_path=_JOB_NAME, arguments=f"States.Array({stories})",
            inputs=[], outputs=[], environment={"LAKE_BUCKET": "${LakeBucket}"})


class LabelExpiry(Construct):
    def __init__(self, scope: Construct, id_: str, *, props: LabelJobProps, slugs: Sequence[str],
                 topic_arn: str) -> None:
        super().__init__(scope, id_)
        job, name = ExpiryJob(self, "Job", props=props, slugs=slugs), naming.label_expiry_state_machine()
        machine = StateMachine(
            self, "Machine", name=name, start="StartExpiry", key=props.key, states=expiry_states(job.request()),
            comment="Expire snapshots of the label tables that nothing needs any more",
            substitutions={**job.substitutions(), "OnCallTopic": topic_arn},
            statements=[*job.run_statements(f"{EXPIRY_JOB_PREFIX}*"), allow("sns:Publish", on=topic_arn)])
        Schedule(self, "Weekly", name=name, expression=_WEEKLY, time_zone="Asia/Tokyo", target_arn=machine.arn,
                 action="states:StartExecution", body={})


def expiry_states(request: dict[str, Any]) -> dict[str, asl.State]:
    return {
        "StartExpiry": start(request, next_="WaitExpiry"),
        **waited_for("Expiry", request["ProcessingJobName.$"], result="$.job", next_="ReadAnswer", failed="JobFailed",
                     on_error="NotifyFailure", poll_s=workflow.INGEST_POLL_S),
        "ReadAnswer": asl.put({"expiry.$": "States.StringToJson($.job.ExitMessage)"}, at="$", next_="Expired"),
        "JobFailed": asl.put({"Error": "ExpiryJobFailed"}, at="$.error", next_="NotifyFailure"),
        "NotifyFailure": asl.notify("Label snapshots did not expire", "States.Format('The weekly expiry failed ({}). "
                                    "Execution: {}', $.error.Error, $$.Execution.Id)", next_="Failed"),
        "Expired": asl.succeed(),
        "Failed": asl.fail("ExpiryFailed", "The expiry job failed: its logs are in /aws/sagemaker/ProcessingJobs"),
    }

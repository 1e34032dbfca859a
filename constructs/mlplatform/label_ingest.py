"""Labels come in: the machine behind `mangaassist labels ingest` and behind the inbox of deliveries.

One machine, two kinds of input: {"story", "batch_id"} of a label file in incoming/, or {"key"} of a delivery in
inbox/, which S3 reports. Both end in the same rows, edits, agreement, quarantine and audit record.
"""

from __future__ import annotations

from typing import Any

from constructs import Construct
from contracts import events, naming, workflow
from mlplatform import asl
from mlplatform.label_platform import LabelJob, LabelJobProps, job_output, label_tables, start, waited_for
from mlplatform.pipeline_definition import input_path, output_path
from mlplatform.policies import allow, read_prefixes, write_prefixes
from mlplatform.state_machine import StateMachine

INGEST_JOB_PREFIX = f"{naming.PROJECT}-ingest-"
# After the execution: its retries find the job, and what failed for good is started again as another execution.
_JOB_NAME = f"States.Format('{INGEST_JOB_PREFIX}{{}}', States.Hash($$.Execution.Id, 'SHA-1'))"
_FOLDER = "States.Format('s3://${{LakeBucket}}/{}{{}}/{{}}/', $.story, $.{})"


class IngestJob(LabelJob):
    """One label file, or one task and its deliveries -> label_records; what is turned down -> quarantine."""

    def __init__(self, scope: Construct, id_: str, *, props: LabelJobProps) -> None:
        lake = props.buckets.lake.bucket_arn
        super().__init__(scope, id_, props=props, description="Takes labels into label_records", statements=[
            *read_prefixes(lake, "incoming/", naming.TASKS_PREFIX, naming.INBOX_PREFIX, naming.ICEBERG_PREFIX),
            write_prefixes(lake, "quarantine/", naming.ICEBERG_PREFIX),
            # Iceberg removes the metadata of a commit that lost its race.
            allow("s3:DeleteObject", on=f"{lake}/{naming.ICEBERG_PREFIX}*"),
            label_tables("GetDatabase", "GetTable", "CreateTable", "UpdateTable"),
        ])

    def request(self) -> dict[str, Any]:
        """Reads `story` and `batch_id`."""
        return self._taking_in("model_code.platform.ingest_labels", {"incoming": ("incoming/", "batch_id")})

    def settle_request(self) -> dict[str, Any]:
        """Reads `task`, too. All deliveries of the task are input, whichever of them it was that came."""
        return self._taking_in("model_code.platform.settle_task", {
            "task": (naming.TASKS_PREFIX, "task"), "deliveries": (naming.INBOX_PREFIX, "task")})

    def _taking_in(self, module: str, folders: dict[str, tuple[str, str]]) -> dict[str, Any]:
        """`folders`: argument -> (prefix in the lake, field that names the folder below it)."""
        inputs = ", ".join(f"'--{name}', '{input_path(name)}'" for name in folders)
        return self._request(
            module, name_path=_JOB_NAME,
            arguments=f"States.Array({inputs}, '--output', '{output_path('quarantine')}', '--story', $.story, "
                      "'--batch-id', $.batch_id)",
            inputs=[{"InputName": name, "S3Input": {
                "S3Uri.$": _FOLDER.format(prefix, field), "LocalPath": input_path(name), "S3DataType": "S3Prefix",
                "S3InputMode": "File"}} for name, (prefix, field) in folders.items()],
            outputs=[job_output("quarantine", _FOLDER.format("quarantine/", "batch_id"))],
        )


class LabelIngest(Construct):
    """The machine, with its job and role."""

    def __init__(self, scope: Construct, id_: str, *, props: LabelJobProps, topic_arn: str, audit_arn: str) -> None:
        super().__init__(scope, id_)
        job = IngestJob(self, "Job", props=props)
        self.machine = StateMachine(
            self, "Machine", name=naming.label_ingest_state_machine(), start="WhatCame", key=props.key,
            comment="Check what was labelled; append its good rows, quarantine its bad ones",
            states=ingest_states(job.request(), job.settle_request()),
            substitutions={**job.substitutions(), "OnCallTopic": topic_arn, "Audit": audit_arn},
            statements=[*job.run_statements(f"{INGEST_JOB_PREFIX}*"), allow("sns:Publish", on=topic_arn),
                        allow("lambda:InvokeFunction", on=audit_arn)],
        )


def _part(key: str, number: int) -> str:
    """One part of an S3 key."""
    return f"States.ArrayGetItem(States.StringSplit({key}, '/'), {number})"


def ingest_states(request: dict[str, Any], settle: dict[str, Any]) -> dict[str, asl.State]:
    return {
        "WhatCame": asl.choose(asl.present("$.key", "ReadKey"), default="StartIngest"),
        # inbox/STORY/TASK/DELIVERY.json
        "ReadKey": asl.put({"story.$": _part("$.key", 1), "task.$": _part("$.key", 2),
                            "batch_id.$": f"States.ArrayGetItem(States.StringSplit({_part('$.key', 3)}, '.'), 0)"},
                           at="$", next_="StartSettling"),
        "StartSettling": start(settle, next_="WaitIngest"),
        "StartIngest": start(request, next_="WaitIngest"),
        **waited_for("Ingest", request["ProcessingJobName.$"], result="$.job", next_="ReadAnswer", failed="JobFailed",
                     on_error="NotifyFailure", poll_s=workflow.INGEST_POLL_S),
        "ReadAnswer": asl.put({"story.$": "$.story", "batch_id.$": "$.batch_id",
                               "ingest.$": "States.StringToJson($.job.ExitMessage)"}, at="$", next_="IngestStatus"),
        "IngestStatus": asl.choose(asl.equals("$.ingest.edited", True, "AuditEdits"),
                                   asl.equals("$.ingest.status", "ingested", "Ingested"),
                                   asl.equals("$.ingest.status", "too_many_bad", "RejectedBatch"),
                                   asl.equals("$.ingest.status", "waiting", "WaitingForDeliveries"),
                                   default="JobFailed"),
        # Who, when, why and the previous values are in label_edits; the chain holds which batch and how many.
        "AuditEdits": asl.function(
            "Audit", {"story.$": "$.story", "run_id.$": "$.batch_id", "outcome": events.LABELS_EDITED,
                      "detail": {"ingest.$": "$.ingest", "execution.$": "$$.Execution.Id"}},
            next_="Ingested", on_error="NotifyFailure", result=None),
        "JobFailed": asl.put({"Error": "IngestJobFailed"}, at="$.error", next_="NotifyFailure"),
        "NotifyFailure": asl.notify("Label ingest failed", "States.Format('Batch {} of {} failed ({}). Execution: {}', "
                                    "$.batch_id, $.story, $.error.Error, $$.Execution.Id)", next_="Failed"),
        "Ingested": asl.succeed(),
        "RejectedBatch": asl.succeed(),
        "WaitingForDeliveries": asl.succeed(),
        "Failed": asl.fail("IngestFailed", "The ingest job failed: its logs are in /aws/sagemaker/ProcessingJobs"),
    }

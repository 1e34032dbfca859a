"""The join on Spark as it is deployed: application, job role, machine and the operator's command."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cli import executions, feature_join
from cli.errors import CliError
from contracts import events, naming
from contracts.datasets import LABEL_TIME
from model_code.common.point_in_time import join
from model_code.common.point_in_time_definition import PointInTime
from tests.support.deployment import PATIENCE_S, SLUG, STORY, Deployed
from tests.support.embedded import eventually
from tests.support.point_in_time_cases import CASES, INSTANT, NOON, definition, golden_answers, golden_tables, same_rows

pytestmark = [
    pytest.mark.workflow,
    pytest.mark.skipif(shutil.which("java") is None, reason="Spark needs Java 17 or newer and there is no `java` on "
                       "the PATH: apt install openjdk-17-jre-headless"),
]
GROUP = STORY.cohort_group
MACHINE = naming.feature_join_state_machine()


@pytest.fixture
def jp(empty_jp: Deployed) -> Iterator[Deployed]:
    """Deployed is enough: a join needs no champion."""
    empty_jp.forget_calls()
    yield empty_jp
    empty_jp.aws.local("DELETE", "faults")
    assert not empty_jp.aws.client("stepfunctions").list_executions(
        stateMachineArn=empty_jp.target.state_machine_arn(MACHINE), statusFilter="RUNNING")["executions"]


def put(jp: Deployed, folder: str, table: pa.Table) -> str:
    body = io.BytesIO()
    pq.write_table(table, body, row_group_size=7)
    jp.aws.client("s3").put_object(Bucket=jp.target.bucket(naming.LAKE), Body=body.getvalue(),
                                   Key=naming.join_prefix(SLUG, folder) + "part-0.parquet")
    return folder


def read(jp: Deployed, folder: str) -> pa.Table:
    s3, bucket = jp.aws.client("s3"), jp.target.bucket(naming.LAKE)
    keys = [o["Key"] for o in s3.list_objects_v2(Bucket=bucket, Prefix=naming.join_prefix(SLUG, folder))["Contents"]]
    assert naming.join_prefix(SLUG, folder) + "_SUCCESS" in keys
    return pa.concat_tables([pq.read_table(io.BytesIO(s3.get_object(Bucket=bucket, Key=key)["Body"].read()))
                             for key in sorted(keys) if key.endswith(".parquet")])


def start(jp: Deployed, wanted: PointInTime, *, labels: str, features: str, output: str) -> str:
    body = {"story": SLUG, "labels": labels, "features": features, "output": output, "definition": wanted.to_json()}
    return executions.start(jp.target, MACHINE, body, name=executions.new_name("join"))


def job_runs(jp: Deployed) -> list[dict[str, Any]]:
    cloudformation, emr = jp.aws.client("cloudformation"), jp.aws.client("emr-serverless")
    found = cloudformation.describe_stack_resources(StackName=naming.stack(jp.target.deployment.name, "platform"))
    [application] = [r["PhysicalResourceId"] for r in found["StackResources"]
                     if r["ResourceType"] == "AWS::EMRServerless::Application"]
    return list(emr.list_job_runs(applicationId=application)["jobRuns"])


@pytest.mark.parametrize("ttl", sorted({case.ttl for case in CASES}, key=str), ids=str)
def test_the_machine_gives_the_rows_of_the_golden_cases(jp: Deployed, ttl: timedelta | None) -> None:
    cases = [case for case in CASES if case.ttl == ttl]
    labels, features = golden_tables(cases)
    names = {name: put(jp, f"golden-{ttl}-{name}".replace(":", "-"), table)
             for name, table in (("labels", labels), ("features", features))}
    output = f"golden-{ttl}-joined".replace(":", "-")
    done = executions.wait(jp.target, start(jp, definition(ttl), **names, output=output), timeout_s=PATIENCE_S)
    assert (done.outcome, done.states[:3]) == (feature_join.JOINED, ("StartJoin", "WaitJoin", "DescribeJoin")), done
    joined = read(jp, output)
    golden_answers(joined, cases)
    same_rows(joined, join(labels, features, definition(ttl)))


def shop(minutes: list[int]) -> tuple[pa.Table, pa.Table]:
    """Labels and rows of the story's own feature group."""
    times = [NOON + timedelta(minutes=minute) for minute in minutes]
    labels = pa.table({"id": [str(m) for m in minutes], "customer_id": ["ann"] * len(minutes),
                       LABEL_TIME: pa.array(times, INSTANT)})
    known = pa.array([NOON, NOON + timedelta(minutes=10)], INSTANT)
    return labels, pa.table({"customer_id": ["ann", "ann"], "event_time": known, "ingested_at": known,
                             "interactions": pa.array([4, 60]), "is_deleted": [False, False]})


def test_the_command_joins_by_the_story_s_own_definition_and_one_id_is_one_job(jp: Deployed, tmp_path: Path) -> None:
    labels, features = shop([-1, 5, 10])
    for name, table in (("labels", labels), ("features", features)):
        pq.write_table(table, tmp_path / f"{name}.parquet")

    def asked() -> feature_join.Joined:
        return feature_join.join(jp.target, STORY, GROUP, labels=str(tmp_path / "labels.parquet"),
                                 features=str(tmp_path / "features.parquet"), output="asked", run_id="asked-once")

    with jp.aws.fault(service="emr-serverless", operation="StartJobRun", kind="lose_answer", times=1):
        done = asked()
    assert done.execution.outcome == feature_join.JOINED, done
    assert done.uri == f"s3://{jp.target.bucket(naming.LAKE)}/{naming.join_prefix(SLUG, 'asked')}"
    joined = read(jp, "asked")
    assert joined["interactions"].to_pylist() == [None, 4, 60]
    same_rows(joined, join(labels, features, PointInTime(**GROUP.point_in_time(label_time=LABEL_TIME))))
    assert len(jp.calls("StartJobRun")) == 2, "the lost answer was asked for again"
    assert asked().execution.arn == done.execution.arn
    assert [run.get("name") for run in job_runs(jp)].count("asked-once") == 1


def test_a_folder_that_is_not_there_or_would_be_overwritten_is_refused_before_anything_starts(jp: Deployed) -> None:
    with pytest.raises(CliError, match="--labels 'none' is neither a Parquet file or folder here nor"):
        feature_join.join(jp.target, STORY, GROUP, labels="none", features="none", output="x")
    with pytest.raises(CliError, match="'none' is also what the join reads"):
        feature_join.join(jp.target, STORY, GROUP, labels="none", features="y", output="none")
    assert jp.calls("StartExecution") == []


def test_a_table_that_does_not_fit_fails_the_run_says_why_and_tells_on_call(jp: Deployed) -> None:
    labels, features = shop([5])
    names = {"labels": put(jp, "unfit-labels", labels),
             "features": put(jp, "unfit-features", features.drop_columns(["ingested_at"]))}
    done = executions.wait(jp.target, start(jp, PointInTime(**GROUP.point_in_time(label_time=LABEL_TIME)), **names,
                                            output="unfit-joined"), timeout_s=PATIENCE_S)
    assert done.outcome == events.FAILED
    assert done.states[-3:] == ("JobFailed", "NotifyFailure", "Failed")
    assert "columns ['ingested_at'] are missing" in done.error
    assert [call["status"] for call in jp.calls("Publish") if call["service"] == "sns"] == [200]
    [told] = [call for call in jp.calls("Publish") if call["service"] == "sns"]
    assert "FeatureJoinMachineRole" in told["role"]


def test_the_same_job_under_a_role_without_a_grant_on_joins_fails(jp: Deployed) -> None:
    """What the deployed role may reach is read from the template; here it is seen that grants decide."""
    emr, [first, *_] = jp.aws.client("emr-serverless"), job_runs(jp)
    like = emr.get_job_run(applicationId=first["applicationId"], jobRunId=first["id"])["jobRun"]
    role = jp.aws.role("emr-serverless.amazonaws.com", ("s3:GetObject", "arn:aws:s3:::cdk-*"), ("kms:Decrypt", "*"))
    started = emr.start_job_run(applicationId=first["applicationId"], executionRoleArn=role, clientToken="without",
                                jobDriver=like["jobDriver"])
    where = {"applicationId": first["applicationId"], "jobRunId": started["jobRunId"]}
    found = eventually(lambda: (r := emr.get_job_run(**where)["jobRun"])["state"] == "FAILED" and r)
    assert "AccessDenied" in found["stateDetails"]
    assert "not authorized to perform: s3:ListBucket" in found["stateDetails"]


def test_a_run_that_nobody_can_describe_is_cancelled_and_told(jp: Deployed) -> None:
    labels, features = shop([5])
    names = {"labels": put(jp, "lost-labels", labels), "features": put(jp, "lost-features", features)}
    with jp.aws.fault(service="emr-serverless", operation="GetJobRun", kind="error", times=None):
        arn = start(jp, PointInTime(**GROUP.point_in_time(label_time=LABEL_TIME)), **names, output="lost-joined")
        done = executions.wait(jp.target, arn, timeout_s=PATIENCE_S)
    assert (done.outcome, done.states[-3:]) == (events.FAILED, ("CancelJoin", "NotifyFailure", "Failed"))
    [run] = [run for run in job_runs(jp) if run.get("name") == done.name]
    eventually(lambda: next(r for r in job_runs(jp) if r["id"] == run["id"])["state"] == "CANCELLED")

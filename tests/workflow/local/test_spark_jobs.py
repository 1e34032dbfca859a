"""EMR Serverless: Spark programs that really run, under their role, once per client token."""

from __future__ import annotations

import gzip
import json
import shutil
import sys
import zipfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local.emr_serverless import spark_submit
from local.sagemaker.errors import JobFailure
from tests.support.embedded import EmbeddedAws, embedded_aws, eventually, unique

JAVA_MISSING = "Spark needs Java 17 or newer and there is no `java` on the PATH: apt install openjdk-17-jre-headless"
with_java = pytest.mark.skipif(shutil.which("java") is None, reason=JAVA_MISSING)
PATIENCE_S = 120.0
SERVICE = "emr-serverless.amazonaws.com"
ENDED = ("SUCCESS", "FAILED", "CANCELLED")
SUFFIX = "def shout(text):\n    return text.upper()\n"
PROGRAM = """
import sys
from pyspark.sql import SparkSession
from suffix import shout
words, output = sys.argv[1:]
spark = SparkSession.builder.getOrCreate()
print("reading", words.rpartition("/")[2])
rows = [shout(row.value) for row in spark.read.text(words).collect()]
spark.createDataFrame([(row,) for row in sorted(rows)], "value string").coalesce(1).write.mode("overwrite").text(output)
"""


@pytest.fixture(scope="module")
def bucket(aws: EmbeddedAws) -> str:
    name = unique("spark")
    s3 = aws.client("s3")
    s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": aws.region})
    archive = BytesIO()
    with zipfile.ZipFile(archive, "w") as content:
        content.writestr("suffix.py", SUFFIX)
    for key, body in (("code/shout.py", PROGRAM.encode()), ("code/suffix.zip", archive.getvalue()),
                      ("code/sleep.py", b"import time\ntime.sleep(600)\n"),
                      ("words/a.txt", b"one\n"), ("words/b.txt", b"two\n"), ("other/c.txt", b"three\n"),
                      ("loud/stale.txt", b"of an earlier job\n")):
        s3.put_object(Bucket=name, Key=key, Body=body)
    return name


@pytest.fixture(scope="module")
def application(aws: EmbeddedAws, bucket: str) -> str:
    return str(aws.client("emr-serverless").create_application(
        name=unique("app"), type="SPARK", releaseLabel="emr-7.10.0", monitoringConfiguration={
            "cloudWatchLoggingConfiguration": {"enabled": True, "logGroupName": "/spark"},
            "s3MonitoringConfiguration": {"logUri": f"s3://{bucket}/logs/"}})["applicationId"])


@pytest.fixture(scope="module")
def role(aws: EmbeddedAws, bucket: str) -> str:
    arn = f"arn:aws:s3:::{bucket}"
    return aws.role(SERVICE, ("s3:GetObject", f"{arn}/code/*"), ("s3:GetObject", f"{arn}/words/*"),
                    ("s3:GetObject", f"{arn}/loud/*"), ("s3:PutObject", f"{arn}/loud/*"),
                    ("s3:DeleteObject", f"{arn}/loud/*"), ("s3:PutObject", f"{arn}/logs/*"), ("s3:ListBucket", arn))


def request(bucket: str, application: str, role: str, *, words: str = "words",
            program: str = "shout.py") -> dict[str, Any]:
    return {
        "applicationId": application, "executionRoleArn": role, "name": "shout", "clientToken": unique("token"),
        "jobDriver": {"sparkSubmit": {
            "entryPoint": f"s3://{bucket}/code/{program}",
            "entryPointArguments": [f"s3://{bucket}/{words}/", f"s3://{bucket}/loud/"],
            "sparkSubmitParameters": f"--py-files s3://{bucket}/code/suffix.zip --conf spark.executor.cores=2"}}}


def finished(aws: EmbeddedAws, started: dict[str, Any]) -> dict[str, Any]:
    emr = aws.client("emr-serverless")

    def ended() -> Any:
        run = emr.get_job_run(applicationId=started["applicationId"], jobRunId=started["jobRunId"])["jobRun"]
        return run if run["state"] in ENDED else None

    return dict(eventually(ended, within_s=PATIENCE_S))


def keys(aws: EmbeddedAws, bucket: str, prefix: str) -> list[str]:
    return [o["Key"] for o in aws.client("s3").list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", [])]


@with_java
@pytest.mark.surface("emr-serverless:StartJobRun")
def test_a_spark_program_reads_writes_and_replaces_s3_and_logs(
        aws: EmbeddedAws, bucket: str, application: str, role: str) -> None:
    emr, wanted = aws.client("emr-serverless"), request(bucket, application, role)
    started = emr.start_job_run(**wanted)
    again = emr.start_job_run(**wanted)
    assert again["jobRunId"] == started["jobRunId"]
    with pytest.raises(ClientError, match=r"ConflictException.*with other parameters"):
        emr.start_job_run(**{**wanted, "name": "other"})
    run = finished(aws, started)
    assert run["state"] == "SUCCESS", run["stateDetails"]
    written = keys(aws, bucket, "loud/")
    assert [key.rpartition("/")[2][:4] for key in written] == ["_SUC", "part"], "the stale object is gone, no checksums"
    body = aws.client("s3").get_object(Bucket=bucket, Key=written[1])["Body"].read()
    assert body == b"ONE\nTWO\n"
    stream = f"applications/{application}/jobs/{run['jobRunId']}/SPARK_DRIVER/stdout"
    copy = aws.client("s3").get_object(Bucket=bucket, Key=f"logs/{stream}.gz")["Body"].read()
    assert "reading words" in gzip.decompress(copy).decode().splitlines()
    events = aws.client("logs").get_log_events(logGroupName="/spark", logStreamName=stream)["events"]
    assert "reading words" in [event["message"] for event in events]
    listed = emr.list_job_runs(applicationId=application, states=["SUCCESS"])["jobRuns"]
    assert run["jobRunId"] in [found["id"] for found in listed]


@with_java
@pytest.mark.surface("emr-serverless: a job run's role")
def test_a_job_fails_on_what_its_role_may_not_read(aws: EmbeddedAws, bucket: str, application: str, role: str) -> None:
    started = aws.client("emr-serverless").start_job_run(**request(bucket, application, role, words="other"))
    run = finished(aws, started)
    assert run["state"] == "FAILED"
    assert "AccessDenied" in run["stateDetails"]


@with_java
@pytest.mark.surface("emr-serverless:CancelJobRun")
def test_a_job_that_is_cancelled_ends(aws: EmbeddedAws, bucket: str, application: str, role: str) -> None:
    emr = aws.client("emr-serverless")
    started = emr.start_job_run(**request(bucket, application, role, program="sleep.py"))
    where = {"applicationId": application, "jobRunId": started["jobRunId"]}
    eventually(lambda: emr.get_job_run(**where)["jobRun"]["state"] == "RUNNING")
    with pytest.raises(ClientError, match="has job runs that have not ended"):
        emr.delete_application(applicationId=application)
    emr.cancel_job_run(**where)
    assert finished(aws, started)["state"] == "CANCELLED"
    with pytest.raises(ClientError, match="is CANCELLED: only one that has not ended"):
        emr.cancel_job_run(**where)


@pytest.mark.surface("emr-serverless: a caller's grants")
def test_a_caller_needs_the_application_the_run_and_the_role(
        aws: EmbeddedAws, bucket: str, application: str, role: str) -> None:
    arn = f"arn:aws:emr-serverless:{aws.region}:{role.split(':')[4]}:/applications/{application}"
    start_only = aws.as_role("emr-serverless", aws.role("lambda.amazonaws.com", ("emr-serverless:StartJobRun", arn)))
    with pytest.raises(ClientError, match=r"iam:PassRole on resource: .*"):
        start_only.start_job_run(**request(bucket, application, role))
    with pytest.raises(ClientError, match="emr-serverless:GetJobRun"):
        start_only.get_job_run(applicationId=application, jobRunId="001")
    reader = aws.as_role("emr-serverless", aws.role(
        "lambda.amazonaws.com", ("emr-serverless:GetJobRun", f"{arn}/jobruns/*")))
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        reader.get_job_run(applicationId=application, jobRunId="001")
    with pytest.raises(ClientError, match="emr-serverless:StartJobRun"):
        reader.start_job_run(**request(bucket, application, role))
    stranger = aws.role("lambda.amazonaws.com")
    with pytest.raises(ClientError, match=r"allows principal 'emr-serverless\.amazonaws\.com'"):
        aws.client("emr-serverless").start_job_run(**request(bucket, application, stranger))


@pytest.mark.surface("emr-serverless: refusals")
def test_what_would_have_no_effect_is_refused(aws: EmbeddedAws, bucket: str, application: str, role: str) -> None:
    emr = aws.client("emr-serverless")
    with pytest.raises(ClientError, match="type 'HIVE' is not supported by the embedded EMR Serverless"):
        emr.create_application(name="hive", type="HIVE", releaseLabel="emr-7.10.0")
    wanted = request(bucket, application, role)
    wanted["jobDriver"]["sparkSubmit"]["sparkSubmitParameters"] = "--jars s3://a/b.jar"
    with pytest.raises(ClientError, match=r"'--jars' is not supported .* supports --py-files, --conf"):
        emr.start_job_run(**wanted)
    with pytest.raises(ClientError, match="request member retryPolicy is not supported by the embedded EMR Serverless"):
        emr.start_job_run(**request(bucket, application, role), retryPolicy={"maxAttempts": 2})


@pytest.mark.surface("AWS::EMRServerless::Application")
def test_an_application_comes_changes_and_goes_with_its_stack(aws: EmbeddedAws) -> None:
    cloudformation, emr, stack = aws.client("cloudformation"), aws.client("emr-serverless"), unique("stack")

    def template(minutes: int) -> str:
        return json.dumps({"Resources": {"App": {"Type": "AWS::EMRServerless::Application", "Properties": {
            "Name": "joins", "Type": "SPARK", "ReleaseLabel": "emr-7.10.0", "Architecture": "ARM64",
            "MaximumCapacity": {"Cpu": "8 vCPU", "Memory": "32 GB"},
            "AutoStopConfiguration": {"Enabled": True, "IdleTimeoutMinutes": minutes}}}},
            "Outputs": {"Id": {"Value": {"Ref": "App"}}, "Arn": {"Value": {"Fn::GetAtt": ["App", "Arn"]}}}})

    def outputs(wanted: str) -> dict[str, str]:
        found = eventually(lambda: (s := cloudformation.describe_stacks(StackName=stack)["Stacks"][0])["StackStatus"]
                           == wanted and s)
        return {o["OutputKey"]: o["OutputValue"] for o in found["Outputs"]}

    cloudformation.create_stack(StackName=stack, TemplateBody=template(5))
    made = outputs("CREATE_COMPLETE")
    found = emr.get_application(applicationId=made["Id"])["application"]
    assert (found["arn"], found["architecture"], found["autoStopConfiguration"]) == (
        made["Arn"], "ARM64", {"enabled": True, "idleTimeoutMinutes": 5})
    cloudformation.update_stack(StackName=stack, TemplateBody=template(9))
    assert outputs("UPDATE_COMPLETE") == made
    assert emr.get_application(applicationId=made["Id"])["application"]["autoStopConfiguration"][
        "idleTimeoutMinutes"] == 9
    cloudformation.delete_stack(StackName=stack)
    eventually(lambda: emr_gone(emr, made["Id"]))


def emr_gone(emr: Any, application_id: str) -> bool:
    try:
        emr.get_application(applicationId=application_id)
    except emr.exceptions.ResourceNotFoundException:
        return True
    return False


@pytest.fixture(scope="module")
def without_java(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedAws]:
    """A server whose PATH holds Python and nothing else."""
    folder = tmp_path_factory.mktemp("bare")
    (folder / "bin").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", str(folder / "bin"))
        patch.delenv("JAVA_HOME", raising=False)
        assert Path(sys.executable).is_file()
        with embedded_aws(folder / "aws") as running:
            yield running


@pytest.mark.surface("emr-serverless: a machine without Java")
def test_without_java_a_job_run_fails_and_says_what_to_install(without_java: EmbeddedAws) -> None:
    emr = without_java.client("emr-serverless")
    app = emr.create_application(name="app", type="SPARK", releaseLabel="emr-7.10.0")["applicationId"]
    run = finished(without_java, emr.start_job_run(**request("none", app, without_java.role(SERVICE))))
    assert run["state"] == "FAILED"
    assert "apt install openjdk-17-jre-headless" in run["stateDetails"]


def test_without_pyspark_a_job_run_fails_and_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_HOME", "/usr")
    monkeypatch.setattr(spark_submit.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(JobFailure, match=r"pip install pyspark==3\.5\.9"):
        spark_submit.require_spark()

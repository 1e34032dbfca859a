"""Training, processing and transform jobs run as real processes with their role's grants."""

from __future__ import annotations

import io
import json
import tarfile
import time
import uuid

import pytest
from botocore.exceptions import ClientError

from tests.workflow.sagemaker.conftest import allow, wait_for

ENDED = ("Completed", "Failed", "Stopped")


@pytest.fixture(scope="module")
def data(aws, bucket) -> str:
    s3 = aws.client("s3")
    s3.put_object(Bucket=bucket, Key="data/train/a.txt", Body=b"one two three")
    s3.put_object(Bucket=bucket, Key="data/train/deep/b.txt", Body=b"four")
    s3.put_object(Bucket=bucket, Key="data/train/empty.txt", Body=b"")
    return f"s3://{bucket}/data/train/"


def training(image: str, role: str, bucket: str, data: str, **changes) -> dict:
    hyperparameters = changes.pop("hyperparameters", {})
    request = {
        "TrainingJobName": f"train-{uuid.uuid4().hex[:8]}", "RoleArn": role,
        "AlgorithmSpecification": {
            "TrainingImage": image, "TrainingInputMode": "File",
            "MetricDefinitions": [{"Name": "loss", "Regex": r"loss=([0-9.]+);"}],
        },
        "HyperParameters": {"steps": "3", **hyperparameters},
        "InputDataConfig": [{"ChannelName": "train", "DataSource": {"S3DataSource": {
            "S3DataType": "S3Prefix", "S3Uri": data, "S3DataDistributionType": "FullyReplicated"}}}],
        "OutputDataConfig": {"S3OutputPath": f"s3://{bucket}/models"},
        "ResourceConfig": {"InstanceType": "ml.m5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 10},
        "StoppingCondition": {"MaxRuntimeInSeconds": 60},
    }
    return {**request, **changes}


def run(sagemaker, request: dict) -> dict:
    sagemaker.create_training_job(**request)
    return wait_training(sagemaker, request["TrainingJobName"])


def wait_training(sagemaker, name: str) -> dict:
    return wait_for(
        lambda: sagemaker.describe_training_job(TrainingJobName=name), lambda j: j["TrainingJobStatus"] in ENDED
    )


@pytest.mark.surface("sagemaker:CreateTrainingJob", "sagemaker:DescribeTrainingJob")
def test_a_training_job_reads_its_channel_and_leaves_a_model(aws, image, role, bucket, data) -> None:
    sagemaker = aws.client("sagemaker")
    job = run(sagemaker, training(image, role, bucket, data, Environment={"NOTE": "kept"}))
    assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
    uri = job["ModelArtifacts"]["S3ModelArtifacts"]
    assert uri == f"s3://{bucket}/models/{job['TrainingJobName']}/output/model.tar.gz"
    s3, prefix = aws.client("s3"), f"models/{job['TrainingJobName']}/output"
    archive = s3.get_object(Bucket=bucket, Key=f"{prefix}/model.tar.gz")["Body"].read()
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        model = json.load(tar.extractfile("model.json"))
    assert model == {"words": 4, "greeting": "hello", "started_at": 0}
    output = s3.get_object(Bucket=bucket, Key=f"{prefix}/output.tar.gz")["Body"].read()
    with tarfile.open(fileobj=io.BytesIO(output)) as tar:
        assert tar.extractfile("notes.txt").read() == b"kept"
    assert [s["Status"] for s in job["SecondaryStatusTransitions"]] == [
        "Starting", "Downloading", "Training", "Uploading", "Completed"]
    metric = job["FinalMetricDataList"][0]
    assert (metric["MetricName"], metric["Value"]) == ("loss", pytest.approx(0.333))
    assert job["BillableTimeInSeconds"] >= 1
    listed = sagemaker.list_training_jobs(NameContains=job["TrainingJobName"])["TrainingJobSummaries"]
    assert [j["TrainingJobStatus"] for j in listed] == ["Completed"]


@pytest.mark.surface("sagemaker:CreateTrainingJob")
def test_uncompressed_output_is_a_prefix_of_files(aws, image, role, bucket, data) -> None:
    output = {"S3OutputPath": f"s3://{bucket}/models", "CompressionType": "NONE"}
    job = run(aws.client("sagemaker"), training(image, role, bucket, data, OutputDataConfig=output))
    uri = job["ModelArtifacts"]["S3ModelArtifacts"]
    assert uri == f"s3://{bucket}/models/{job['TrainingJobName']}/output/model/"
    key = uri.removeprefix(f"s3://{bucket}/") + "model.json"
    assert json.loads(aws.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read())["words"] == 4


def test_a_failing_script_gives_its_reason(aws, image, role, bucket, data) -> None:
    request = training(image, role, bucket, data, hyperparameters={"fail": "labels are broken"})
    job = run(aws.client("sagemaker"), request)
    assert job["TrainingJobStatus"] == "Failed"
    assert job["FailureReason"] == "AlgorithmError: labels are broken, exit code: 3"


def test_a_missing_grant_fails_the_job_with_access_denied(aws, image, bucket, data) -> None:
    grants = [allow("ecr:*"), allow("s3:PutObject")]
    job = run(aws.client("sagemaker"), training(image, aws.role(grants), bucket, data))
    assert job["TrainingJobStatus"] == "Failed"
    assert "Data download failed" in job["FailureReason"]
    assert "AccessDenied" in job["FailureReason"]


def test_a_role_that_may_not_pull_the_image_fails_the_job(aws, image, bucket, data) -> None:
    job = run(aws.client("sagemaker"), training(image, aws.role([allow("s3:*")]), bucket, data))
    assert job["TrainingJobStatus"] == "Failed"
    assert "AccessDenied" in job["FailureReason"]
    assert "ecr" in job["FailureReason"]


def test_an_image_that_nobody_built_fails_the_job(aws, image, role, bucket, data) -> None:
    job = run(aws.client("sagemaker"), training(image.replace(":v1", ":v9"), role, bucket, data))
    assert "has no tag 'v9'" in job["FailureReason"]


def test_a_role_that_does_not_trust_sagemaker_is_refused(aws, image, bucket, data) -> None:
    stranger = aws.role([allow("*")], service="lambda.amazonaws.com")
    with pytest.raises(ClientError, match="Could not assume role"):
        aws.client("sagemaker").create_training_job(**training(image, stranger, bucket, data))


def test_an_empty_prefix_fails_with_the_words_of_aws(aws, image, role, bucket) -> None:
    job = run(aws.client("sagemaker"), training(image, role, bucket, f"s3://{bucket}/nothing/"))
    assert "No S3 objects found under S3 URL" in job["FailureReason"]


def test_max_runtime_stops_the_job(aws, image, role, bucket, data) -> None:
    request = training(image, role, bucket, data, hyperparameters={"pause": "30"})
    request["StoppingCondition"] = {"MaxRuntimeInSeconds": 1}
    job = run(aws.client("sagemaker"), request)
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Stopped", "MaxRuntimeExceeded")


@pytest.mark.surface("sagemaker:StopTrainingJob")
def test_a_stopped_job_resumes_from_its_checkpoint(aws, image, role, bucket, data) -> None:
    sagemaker = aws.client("sagemaker")
    checkpoints = {"S3Uri": f"s3://{bucket}/checkpoints/{uuid.uuid4().hex[:6]}"}
    request = training(
        image, role, bucket, data, hyperparameters={"steps": "100", "pause": "0.2"}, CheckpointConfig=checkpoints,
        EnableManagedSpotTraining=True, StoppingCondition={"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 60},
    )
    sagemaker.create_training_job(**request)
    key = checkpoints["S3Uri"].removeprefix(f"s3://{bucket}/") + "/step"
    s3 = aws.client("s3")
    wait_for(lambda: s3.list_objects_v2(Bucket=bucket, Prefix=key)["KeyCount"], bool)
    sagemaker.stop_training_job(TrainingJobName=request["TrainingJobName"])
    assert wait_training(sagemaker, request["TrainingJobName"])["TrainingJobStatus"] == "Stopped"
    reached = int(s3.get_object(Bucket=bucket, Key=key)["Body"].read())
    again = training(
        image, role, bucket, data, hyperparameters={"steps": str(reached + 1)}, CheckpointConfig=checkpoints,
        OutputDataConfig={"S3OutputPath": f"s3://{bucket}/models", "CompressionType": "NONE"},
    )
    job = run(sagemaker, again)
    model = s3.get_object(Bucket=bucket, Key=f"models/{job['TrainingJobName']}/output/model/model.json")
    assert json.loads(model["Body"].read())["started_at"] == reached


def test_logs_reach_cloudwatch(aws, image, role, bucket, data) -> None:
    job = run(aws.client("sagemaker"), training(image, role, bucket, data))
    logs, group = aws.client("logs"), "/aws/sagemaker/TrainingJobs"
    stream = logs.describe_log_streams(logGroupName=group, logStreamNamePrefix=job["TrainingJobName"])["logStreams"][0]
    events = logs.get_log_events(logGroupName=group, logStreamName=stream["logStreamName"])["events"]
    assert "step=3 loss=0.333;" in [e["message"] for e in events]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"TrainingJobName": "bad_name"}, "regular expression pattern"),
        ({"RetryStrategy": {"MaximumRetryAttempts": 2}}, "RetryStrategy is not supported by the embedded SageMaker"),
        (
            {"ResourceConfig": {"InstanceType": "ml.m5.xlarge", "InstanceCount": 2, "VolumeSizeInGB": 1}},
            "InstanceCount 2",
        ),
        ({"ResourceConfig": {"InstanceType": "ml.none", "InstanceCount": 1, "VolumeSizeInGB": 1}}, "enum value set"),
    ],
)
def test_a_wrong_or_unsupported_parameter_is_refused(aws, image, role, bucket, data, change, words) -> None:
    with pytest.raises(ClientError, match=words) as refused:
        aws.client("sagemaker").create_training_job(**training(image, role, bucket, data, **change))
    assert refused.value.response["Error"]["Code"] == "ValidationException"


def test_an_operation_that_is_not_there_is_refused_by_name(aws) -> None:
    with pytest.raises(ClientError, match="operation ListDomains is not supported by the embedded SageMaker"):
        aws.client("sagemaker").list_domains()


def test_a_job_name_is_unique(aws, image, role, bucket, data) -> None:
    request = training(image, role, bucket, data)
    run(aws.client("sagemaker"), request)
    with pytest.raises(ClientError, match="ResourceInUse"):
        aws.client("sagemaker").create_training_job(**request)


def processing(image: str, role: str, bucket: str, data: str, *arguments: str, **changes) -> dict:
    base = "/opt/ml/processing"
    return {
        "ProcessingJobName": f"prepare-{uuid.uuid4().hex[:8]}", "RoleArn": role,
        "AppSpecification": {
            "ImageUri": image, "ContainerEntrypoint": ["python", "/opt/program/prepare.py"],
            "ContainerArguments": ["--source", f"{base}/input", "--target", f"{base}/output",
                                   "--message", "/opt/ml/output/message", *arguments],
        },
        "ProcessingInputs": [{"InputName": "in", "S3Input": {
            "S3Uri": data, "LocalPath": f"{base}/input", "S3DataType": "S3Prefix", "S3InputMode": "File"}}],
        "ProcessingOutputConfig": {"Outputs": [{"OutputName": "out", "S3Output": {
            "S3Uri": f"s3://{bucket}/prepared", "LocalPath": f"{base}/output", "S3UploadMode": "EndOfJob"}}]},
        "ProcessingResources": {"ClusterConfig": {
            "InstanceCount": 1, "InstanceType": "ml.m5.xlarge", "VolumeSizeInGB": 10}},
        **changes,
    }


def run_processing(sagemaker, request: dict) -> dict:
    sagemaker.create_processing_job(**request)
    name = request["ProcessingJobName"]
    return wait_for(
        lambda: sagemaker.describe_processing_job(ProcessingJobName=name),
        lambda j: j["ProcessingJobStatus"] in ENDED,
    )


@pytest.mark.surface("sagemaker:CreateProcessingJob", "sagemaker:DescribeProcessingJob")
def test_a_processing_job_turns_inputs_into_outputs(aws, image, role, bucket, data) -> None:
    job = run_processing(aws.client("sagemaker"), processing(image, role, bucket, data))
    assert job["ProcessingJobStatus"] == "Completed", job.get("FailureReason")
    body = aws.client("s3").get_object(Bucket=bucket, Key="prepared/a.txt")["Body"].read()
    assert body == b"ONE TWO THREE"
    assert job["ExitMessage"].startswith("prepared x")
    assert len(job["ExitMessage"]) == 1024


def test_a_failing_processing_job_says_so(aws, image, role, bucket, data) -> None:
    job = run_processing(aws.client("sagemaker"), processing(image, role, bucket, data, "--fail"))
    assert job["ProcessingJobStatus"] == "Failed"
    assert "exit code: 5" in job["FailureReason"]


@pytest.mark.parametrize("isolated", [True, False])
def test_network_isolation_takes_the_credentials_away(aws, image, role, bucket, data, isolated: bool) -> None:
    request = processing(image, role, bucket, data, NetworkConfig={"EnableNetworkIsolation": isolated})
    job = run_processing(aws.client("sagemaker"), request)
    logs, group = aws.client("logs"), "/aws/sagemaker/ProcessingJobs"
    name = job["ProcessingJobName"]
    stream = logs.describe_log_streams(logGroupName=group, logStreamNamePrefix=name)["logStreams"][0]["logStreamName"]
    lines = [e["message"] for e in logs.get_log_events(logGroupName=group, logStreamName=stream)["events"]]
    assert f"credentials={not isolated}" in lines


@pytest.mark.surface("sagemaker:CreateTransformJob")
def test_a_transform_job_answers_every_line(aws, image, role, bucket) -> None:
    sagemaker, s3 = aws.client("sagemaker"), aws.client("s3")
    s3.put_object(Bucket=bucket, Key="batch/in/x.txt", Body=b"first\nsecond\n")
    name = f"batch-{uuid.uuid4().hex[:6]}"
    container = {"Image": image, "Environment": {"TAG": "batch"}}
    sagemaker.create_model(ModelName=name, ExecutionRoleArn=role, PrimaryContainer=container)
    sagemaker.create_transform_job(
        TransformJobName=name, ModelName=name, BatchStrategy="SingleRecord",
        TransformInput={"DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{bucket}/batch/in/"}},
                        "SplitType": "Line", "ContentType": "text/plain"},
        TransformOutput={"S3OutputPath": f"s3://{bucket}/batch/out", "AssembleWith": "Line"},
        TransformResources={"InstanceType": "ml.m5.large", "InstanceCount": 1},
    )
    job = wait_for(
        lambda: sagemaker.describe_transform_job(TransformJobName=name), lambda j: j["TransformJobStatus"] in ENDED
    )
    assert job["TransformJobStatus"] == "Completed", job.get("FailureReason")
    lines = s3.get_object(Bucket=bucket, Key="batch/out/x.txt.out")["Body"].read().splitlines()
    assert [json.loads(line)["input"] for line in lines] == ["first\n", "second\n"]


@pytest.mark.surface("events:aws.sagemaker")
def test_job_states_reach_eventbridge(aws, image, role, bucket, data) -> None:
    sqs, events = aws.client("sqs"), aws.client("events")
    url = sqs.create_queue(QueueName="job-states")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    pattern = {"source": ["aws.sagemaker"], "detail-type": ["SageMaker Training Job State Change"]}
    events.put_rule(Name="jobs", EventPattern=json.dumps(pattern))
    events.put_targets(Rule="jobs", Targets=[{"Id": "q", "Arn": arn}])
    job = run(aws.client("sagemaker"), training(image, role, bucket, data))
    seen: list[str] = []

    def drain() -> list[str]:
        for message in sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
            detail = json.loads(message["Body"])["detail"]
            seen.extend([detail["TrainingJobStatus"]] * (detail["TrainingJobName"] == job["TrainingJobName"]))
        return seen

    wait_for(drain, lambda s: "Completed" in s)
    assert seen[0] == "InProgress"
    events.remove_targets(Rule="jobs", Ids=["q"])


def test_a_caller_without_pass_role_is_refused(aws, image, role, bucket, data) -> None:
    caller = aws.as_role("sagemaker", aws.role([allow("sagemaker:*")]))
    with pytest.raises(ClientError, match="iam:PassRole"):
        caller.create_training_job(**training(image, role, bucket, data))


def test_a_caller_is_authorised_on_the_resource_it_names(aws, image, role, bucket, data) -> None:
    mine = "arn:aws:sagemaker:*:*:training-job/mine-*"
    caller = aws.as_role("sagemaker", aws.role([allow("sagemaker:*", resource=mine), allow("iam:PassRole")]))
    with pytest.raises(ClientError, match="AccessDenied"):
        caller.create_training_job(**training(image, role, bucket, data))
    name = f"mine-{time.time_ns()}"
    caller.create_training_job(**training(image, role, bucket, data, TrainingJobName=name))
    assert wait_training(caller, name)["TrainingJobStatus"] == "Completed"

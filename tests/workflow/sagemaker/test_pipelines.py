"""Pipelines run their step graph with real jobs, and register a model package."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.workflow.sagemaker.conftest import allow, wait_for

BASE = "/opt/ml/processing"


def prepare(name: str, image: str, role: str, source: Any, target: Any, *, score: Any = "0.9", **more: Any) -> dict:
    return {
        "Name": name, "Type": "Processing",
        "Arguments": {
            "RoleArn": role,
            "AppSpecification": {
                "ImageUri": image, "ContainerEntrypoint": ["python", "/opt/program/prepare.py"],
                "ContainerArguments": ["--source", f"{BASE}/input", "--target", f"{BASE}/output", "--score", score],
            },
            "ProcessingInputs": [{"InputName": "in", "S3Input": {
                "S3Uri": source, "LocalPath": f"{BASE}/input", "S3DataType": "S3Prefix", "S3InputMode": "File"}}],
            "ProcessingOutputConfig": {"Outputs": [{"OutputName": "out", "S3Output": {
                "S3Uri": target, "LocalPath": f"{BASE}/output", "S3UploadMode": "EndOfJob"}}]},
            "ProcessingResources": {"ClusterConfig": {
                "InstanceCount": 1, "InstanceType": "ml.m5.xlarge", "VolumeSizeInGB": 10}},
        },
        **more,
    }


def train(name: str, image: str, role: str, bucket: str, source: Any, **hyperparameters: Any) -> dict:
    return {
        "Name": name, "Type": "Training",
        "Arguments": {
            "RoleArn": role,
            "AlgorithmSpecification": {"TrainingImage": image, "TrainingInputMode": "File"},
            "HyperParameters": hyperparameters,
            "InputDataConfig": [{"ChannelName": "train", "DataSource": {"S3DataSource": {
                "S3DataType": "S3Prefix", "S3Uri": source, "S3DataDistributionType": "FullyReplicated"}}}],
            "OutputDataConfig": {"S3OutputPath": f"s3://{bucket}/pipeline-models"},
            "ResourceConfig": {"InstanceType": "ml.m5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 10},
            "StoppingCondition": {"MaxRuntimeInSeconds": 60},
        },
    }


def out(step: str) -> dict[str, str]:
    return {"Get": f"Steps.{step}.ProcessingOutputConfig.Outputs['out'].S3Output.S3Uri"}


class Pipelines:
    def __init__(self, aws, role: str) -> None:
        self.sagemaker, self.role = aws.client("sagemaker"), role

    def create(self, steps: list[dict], parameters: list[dict] | None = None, **options: Any) -> str:
        name = f"pipeline-{uuid.uuid4().hex[:8]}"
        definition = {"Version": "2020-12-01", "Metadata": {}, "Parameters": parameters or [], "Steps": steps}
        self.sagemaker.create_pipeline(
            PipelineName=name, PipelineDefinition=json.dumps(definition), RoleArn=options.pop("role", self.role),
            ClientRequestToken=uuid.uuid4().hex, **options,
        )
        return name

    def start(self, name: str, token: str = "", **parameters: str) -> str:
        given = [{"Name": k, "Value": v} for k, v in parameters.items()]
        return str(self.sagemaker.start_pipeline_execution(
            PipelineName=name, PipelineParameters=given, ClientRequestToken=token or uuid.uuid4().hex
        )["PipelineExecutionArn"])

    def ended(self, arn: str) -> tuple[dict, dict[str, dict]]:
        describe = lambda: self.sagemaker.describe_pipeline_execution(PipelineExecutionArn=arn)  # noqa: E731
        execution = wait_for(describe, lambda e: e["PipelineExecutionStatus"] in ("Succeeded", "Failed", "Stopped"))
        return execution, self.steps(arn)

    def steps(self, arn: str) -> dict[str, dict]:
        rows = self.sagemaker.list_pipeline_execution_steps(PipelineExecutionArn=arn)["PipelineExecutionSteps"]
        return {r["StepName"]: r for r in rows}


@pytest.fixture(scope="module")
def pipelines(aws, role) -> Pipelines:
    return Pipelines(aws, role)


@pytest.fixture(scope="module")
def raw(aws, bucket) -> str:
    aws.client("s3").put_object(Bucket=bucket, Key="raw/a.txt", Body=b"one two three")
    return f"s3://{bucket}/raw/"


@pytest.fixture(scope="module")
def group(aws) -> str:
    aws.client("sagemaker").create_model_package_group(ModelPackageGroupName="words")
    return "words"


def whole(image: str, role: str, bucket: str, raw: str, group: str) -> list[dict]:
    """prepare -> train -> judge -> condition -> register or fail."""
    run = {"Get": "Execution.PipelineExecutionId"}
    target = {"Std:Join": {"On": "/", "Values": [f"s3://{bucket}/runs", run, "data"]}}
    report = {"PropertyFiles": [{"PropertyFileName": "Report", "OutputName": "out", "FilePath": "report.json"}]}
    register = {
        "Name": "Register", "Type": "RegisterModel",
        "Arguments": {
            "ModelPackageGroupName": group, "ModelApprovalStatus": "PendingManualApproval",
            "InferenceSpecification": {
                "Containers": [
                    {"Image": image, "ModelDataUrl": {"Get": "Steps.Train.ModelArtifacts.S3ModelArtifacts"}},
                ],
                "SupportedContentTypes": ["text/plain"], "SupportedResponseMIMETypes": ["application/json"],
            },
        },
    }
    score = {"Std:JsonGet": {"PropertyFile": {"Get": "Steps.Judge.PropertyFiles.Report"}, "Path": "metrics.score"}}
    return [
        prepare("Prepare", image, role, raw, target),
        train("Train", image, role, bucket, out("Prepare"), steps={"Get": "Parameters.Steps"}, greeting="hi"),
        prepare("Judge", image, role, raw, f"s3://{bucket}/judged", score={"Get": "Parameters.Score"},
                DependsOn=["Train"], **report),
        {"Name": "GoodEnough", "Type": "Condition", "Arguments": {
            "Conditions": [{"Type": "GreaterThanOrEqualTo", "LeftValue": score, "RightValue": 0.8}],
            "IfSteps": [register],
            "ElseSteps": [{"Name": "Reject", "Type": "Fail", "Arguments": {
                "ErrorMessage": {"Std:Join": {"On": " ", "Values": ["score", score, "is too low"]}}}}]}},
    ]


PARAMETERS = [
    {"Name": "Steps", "Type": "Integer", "DefaultValue": 2},
    {"Name": "Score", "Type": "String", "DefaultValue": "0.9"},
]


@pytest.mark.surface("sagemaker:CreatePipeline", "sagemaker:StartPipelineExecution",
                     "sagemaker:DescribePipelineExecution", "sagemaker:ListPipelineExecutionSteps")
def test_a_pipeline_prepares_trains_judges_and_registers(aws, pipelines, image, role, bucket, raw, group) -> None:
    name = pipelines.create(whole(image, role, bucket, raw, group), PARAMETERS)
    execution, steps = pipelines.ended(pipelines.start(name, Steps="4"))
    assert execution["PipelineExecutionStatus"] == "Succeeded", steps
    assert list(steps) == ["Prepare", "Train", "Judge", "GoodEnough", "Register"]
    assert {s["StepStatus"] for s in steps.values()} == {"Succeeded"}
    assert steps["GoodEnough"]["Metadata"]["Condition"]["Outcome"] == "True"
    arn = steps["Register"]["Metadata"]["RegisterModel"]["Arn"]
    package = pipelines.sagemaker.describe_model_package(ModelPackageName=arn)
    job_name = steps["Train"]["Metadata"]["TrainingJob"]["Arn"].rsplit("/", 1)[1]
    job = pipelines.sagemaker.describe_training_job(TrainingJobName=job_name)
    container = package["InferenceSpecification"]["Containers"][0]
    assert container["ModelDataUrl"] == job["ModelArtifacts"]["S3ModelArtifacts"]
    assert job["HyperParameters"] == {"steps": "4", "greeting": "hi"}


def test_the_else_branch_fails_the_pipeline_with_its_message(pipelines, image, role, bucket, raw, group) -> None:
    name = pipelines.create(whole(image, role, bucket, raw, group), PARAMETERS)
    execution, steps = pipelines.ended(pipelines.start(name, Score="0.1"))
    assert execution["PipelineExecutionStatus"] == "Failed"
    assert execution["FailureReason"] == "Step failure: One or multiple steps failed."
    assert steps["Reject"]["FailureReason"] == "score 0.1 is too low"
    assert "Register" not in steps


def test_free_steps_run_side_by_side(pipelines, image, role, bucket, raw) -> None:
    steps = [train(n, image, role, bucket, raw, pause="0.5", steps="2") for n in ("A", "B")]
    _, shown = pipelines.ended(pipelines.start(pipelines.create(steps)))
    assert shown["B"]["StartTime"] < shown["A"]["EndTime"]
    limited = pipelines.create(steps, ParallelismConfiguration={"MaxParallelExecutionSteps": 1})
    _, shown = pipelines.ended(pipelines.start(limited))
    first, second = sorted(shown.values(), key=lambda s: s["StartTime"])
    assert second["StartTime"] >= first["EndTime"]


def test_the_same_token_starts_one_execution(pipelines, image, role, bucket, raw) -> None:
    name, token = pipelines.create([train("Train", image, role, bucket, raw)]), uuid.uuid4().hex
    assert pipelines.start(name, token) == pipelines.start(name, token)
    assert len(pipelines.sagemaker.list_pipeline_executions(PipelineName=name)["PipelineExecutionSummaries"]) == 1


@pytest.mark.surface("sagemaker:StopPipelineExecution", "sagemaker:RetryPipelineExecution")
def test_a_stopped_execution_stops_its_job_and_can_be_retried(pipelines, image, role, bucket, raw) -> None:
    slow = train("Slow", image, role, bucket, raw, pause="1", steps="2")
    slow["DependsOn"] = ["Quick"]
    name = pipelines.create([train("Quick", image, role, bucket, raw), slow])
    arn = pipelines.start(name)
    found = wait_for(lambda: pipelines.steps(arn), lambda s: "Metadata" in s.get("Slow", {}))
    job = found["Slow"]["Metadata"]["TrainingJob"]["Arn"].rsplit("/", 1)[1]
    pipelines.sagemaker.stop_pipeline_execution(PipelineExecutionArn=arn, ClientRequestToken=uuid.uuid4().hex)
    execution, steps = pipelines.ended(arn)
    assert (execution["PipelineExecutionStatus"], steps["Slow"]["StepStatus"]) == ("Stopped", "Stopped")
    assert pipelines.sagemaker.describe_training_job(TrainingJobName=job)["TrainingJobStatus"] == "Stopped"
    pipelines.sagemaker.retry_pipeline_execution(PipelineExecutionArn=arn, ClientRequestToken=uuid.uuid4().hex)
    execution, again = pipelines.ended(arn)
    assert execution["PipelineExecutionStatus"] == "Succeeded"
    assert again["Quick"]["EndTime"] == steps["Quick"]["EndTime"]
    assert again["Slow"]["StartTime"] > steps["Slow"]["StartTime"]


def test_a_pipeline_role_without_a_grant_fails_its_step(aws, pipelines, image, role, bucket, raw) -> None:
    poor = aws.role([allow("sagemaker:CreateProcessingJob")])
    name = pipelines.create([train("Train", image, role, bucket, raw)], role=poor)
    execution, steps = pipelines.ended(pipelines.start(name))
    assert execution["PipelineExecutionStatus"] == "Failed"
    assert "AccessDenied" in steps["Train"]["FailureReason"]


def test_a_failed_step_stops_what_waits_for_it(pipelines, image, role, bucket, raw) -> None:
    after = prepare("After", image, role, raw, f"s3://{bucket}/x", DependsOn=["Bad"])
    name = pipelines.create([train("Bad", image, role, bucket, raw, fail="no"), after])
    _, steps = pipelines.ended(pipelines.start(name))
    assert list(steps) == ["Bad"]
    assert steps["Bad"]["FailureReason"] == "AlgorithmError: no, exit code: 3"


def test_a_lambda_step_hands_its_outputs_on(aws, pipelines, role) -> None:
    import io
    import zipfile

    code = io.BytesIO()
    with zipfile.ZipFile(code, "w") as archive:
        archive.writestr("app.py", "def handler(event, context):\n    return {'double': event['n'] * 2}\n")
    lambda_role = aws.role([allow("logs:*")], service="lambda.amazonaws.com")
    function = aws.client("lambda").create_function(
        FunctionName="double", Runtime="python3.11", Role=lambda_role, Handler="app.handler",
        Code={"ZipFile": code.getvalue()},
    )["FunctionArn"]
    steps = [
        {"Name": "Double", "Type": "Lambda", "FunctionArn": function, "Arguments": {"n": {"Get": "Parameters.N"}},
         "OutputParameters": [{"OutputName": "double", "OutputType": "Integer"}]},
        {"Name": "Big", "Type": "Condition", "Arguments": {
            "Conditions": [{"Type": "Or", "Conditions": [
                {"Type": "Equals", "LeftValue": {"Get": "Steps.Double.OutputParameters['double']"}, "RightValue": 42},
                {"Type": "Not", "Expression": {"Type": "In", "QueryValue": {"Get": "Parameters.N"}, "Values": [1, 21]}},
            ]}], "IfSteps": [], "ElseSteps": []}},
    ]
    name = pipelines.create(steps, [{"Name": "N", "Type": "Integer"}])
    execution, shown = pipelines.ended(pipelines.start(name, N="21"))
    assert execution["PipelineExecutionStatus"] == "Succeeded", shown
    assert shown["Big"]["Metadata"]["Condition"]["Outcome"] == "True"
    assert shown["Double"]["Metadata"]["Lambda"]["OutputParameters"] == [{"Name": "double", "Value": "42"}]


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        ([{"Name": "A", "Type": "Tuning", "Arguments": {}}], "type 'Tuning'.*is not supported"),
        ([{"Name": "A", "Type": "Fail", "Arguments": {"ErrorMessage": {"Get": "Parameters.No"}}}], "parameter 'No'"),
        ([{"Name": "A", "Type": "Fail", "DependsOn": ["B"], "Arguments": {}}], "refers to step B"),
        ([{"Name": n, "Type": "Fail", "DependsOn": [m], "Arguments": {}} for n, m in ("AB", "BA")], "in a circle"),
        ([{"Name": "A", "Type": "Fail", "Arguments": {}, "CacheConfig": {"Enabled": True}}], "CacheConfig is not"),
    ],
)
def test_a_wrong_definition_is_refused_when_it_is_created(pipelines, steps, words: str) -> None:
    with pytest.raises(ClientError, match=words):
        pipelines.create(steps)


@pytest.mark.parametrize(
    ("given", "words"), [({}, "Needed has no default"), ({"Needed": "x"}, "one of a, b"), ({"Other": "1"}, "Unknown")]
)
def test_wrong_parameters_are_refused_when_it_starts(pipelines, given, words: str) -> None:
    parameters = [{"Name": "Needed", "Type": "String", "EnumValues": ["a", "b"]}]
    name = pipelines.create([{"Name": "A", "Type": "Fail", "Arguments": {}}], parameters)
    with pytest.raises(ClientError, match=words):
        pipelines.start(name, **given)


@pytest.mark.surface("sagemaker:UpdatePipeline", "sagemaker:DeletePipeline")
def test_update_and_delete(pipelines, image, role, bucket, raw) -> None:
    name = pipelines.create([{"Name": "A", "Type": "Fail", "Arguments": {}}])
    steps = [train("Train", image, role, bucket, raw)]
    definition = json.dumps({"Version": "2020-12-01", "Steps": steps})
    pipelines.sagemaker.update_pipeline(PipelineName=name, PipelineDefinition=definition)
    execution, _ = pipelines.ended(pipelines.start(name))
    assert execution["PipelineExecutionStatus"] == "Succeeded"
    pipelines.sagemaker.delete_pipeline(PipelineName=name, ClientRequestToken=uuid.uuid4().hex)
    with pytest.raises(ClientError, match="ResourceNotFound"):
        pipelines.sagemaker.describe_pipeline(PipelineName=name)


def test_execution_states_reach_eventbridge(aws, pipelines, image, role, bucket, raw) -> None:
    sqs, events = aws.client("sqs"), aws.client("events")
    url = sqs.create_queue(QueueName="pipeline-states")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    kind = "SageMaker Model Building Pipeline Execution Status Change"
    pattern = {"source": ["aws.sagemaker"], "detail-type": [kind],
               "detail": {"currentPipelineExecutionStatus": ["Succeeded"]}}
    events.put_rule(Name="pipelines", EventPattern=json.dumps(pattern))
    events.put_targets(Rule="pipelines", Targets=[{"Id": "q", "Arn": arn}])
    execution = pipelines.start(pipelines.create([train("Train", image, role, bucket, raw)]))
    pipelines.ended(execution)
    message = wait_for(lambda: sqs.receive_message(QueueUrl=url).get("Messages"), bool)[0]
    assert json.loads(message["Body"])["detail"]["pipelineExecutionArn"] == execution
    events.remove_targets(Rule="pipelines", Ids=["q"])

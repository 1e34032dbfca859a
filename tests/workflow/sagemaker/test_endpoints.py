"""Endpoints serve, split traffic, report errors and metrics, and heal."""

from __future__ import annotations

import json
import time
import uuid
from collections import Counter

import pytest
from botocore.exceptions import ClientError

from tests.workflow.sagemaker.conftest import allow, wait_for
from tests.workflow.sagemaker.endpoint_kit import Endpoints


@pytest.mark.surface("sagemaker:CreateModel", "sagemaker:CreateEndpointConfig", "sagemaker:CreateEndpoint",
                     "sagemaker-runtime:InvokeEndpoint", "sagemaker:DeleteEndpoint")
def test_an_endpoint_serves_its_model_files(endpoints, aws, bucket) -> None:
    aws.client("s3").put_object(Bucket=bucket, Key="weights/one/model.json", Body=b'{"words": 7}')
    data = {"S3Uri": f"s3://{bucket}/weights/one/", "S3DataType": "S3Prefix", "CompressionType": "None"}
    source = {"S3DataSource": data}
    name = endpoints.create(endpoints.config(endpoints.model("a", container={"ModelDataSource": source})))
    answer = endpoints.ask(name, "text", Accept="application/json", CustomAttributes="trace=1")
    assert (answer["words"], answer["input"], answer["accept"]) == (7, "text", "application/json")
    assert (answer["_variant"], answer["_reply"]["CustomAttributes"]) == ("v0", "trace=1")
    described = endpoints.describe(name)
    summary = described["ProductionVariants"][0]
    assert (summary["DesiredWeight"], summary["CurrentInstanceCount"]) == (1.0, 1)
    assert "@sha256:" in summary["DeployedImages"][0]["ResolvedImage"]
    assert described["LastModifiedTime"] >= described["CreationTime"]


def test_a_model_archive_is_unpacked(endpoints, aws, bucket, tmp_path) -> None:
    import tarfile

    (tmp_path / "model.json").write_text('{"words": 9}')
    with tarfile.open(tmp_path / "model.tar.gz", "w:gz") as tar:
        tar.add(tmp_path / "model.json", arcname="model.json")
    aws.client("s3").upload_file(str(tmp_path / "model.tar.gz"), bucket, "weights/model.tar.gz")
    container = {"ModelDataUrl": f"s3://{bucket}/weights/model.tar.gz"}
    name = endpoints.create(endpoints.config(endpoints.model("tar", container=container)))
    assert endpoints.ask(name)["words"] == 9


def test_weights_split_traffic_and_can_change(endpoints) -> None:
    config = endpoints.config(endpoints.model("a"), endpoints.model("b"), weights=(3.0, 1.0))
    name = endpoints.create(config)
    seen = Counter(endpoints.ask(name)["_variant"] for _ in range(80))
    assert 40 < seen["v0"] < 76
    assert endpoints.ask(name, TargetVariant="v1")["tag"] == "b"
    weights = [{"VariantName": "v0", "DesiredWeight": 0.0}, {"VariantName": "v1", "DesiredWeight": 1.0}]
    endpoints.sagemaker.update_endpoint_weights_and_capacities(EndpointName=name, DesiredWeightsAndCapacities=weights)
    assert {endpoints.ask(name)["_variant"] for _ in range(10)} == {"v1"}
    with pytest.raises(ClientError, match="Variant v9 not found"):
        endpoints.ask(name, TargetVariant="v9")


@pytest.mark.parametrize("status", [400, 500])
def test_an_error_of_the_model_is_a_model_error_with_its_own_status(endpoints, status: int) -> None:
    name = endpoints.create(endpoints.config(endpoints.model("a")))
    with pytest.raises(ClientError) as refused:
        endpoints.ask(name, f"refuse {status}")
    answer = refused.value.response
    assert answer["Error"]["Code"] == "ModelError"
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 424
    assert (answer["OriginalStatusCode"], answer["OriginalMessage"]) == (status, '{"error": "refused"}')


def test_an_unknown_endpoint_is_a_validation_error(endpoints) -> None:
    with pytest.raises(ClientError, match="Endpoint nowhere of account 000000000000 not found") as refused:
        endpoints.ask("nowhere")
    assert refused.value.response["Error"]["Code"] == "ValidationError"
    with pytest.raises(ClientError, match="Could not find endpoint"):
        endpoints.describe("nowhere")


def test_metrics_of_invocations_reach_cloudwatch(endpoints, aws) -> None:
    name = endpoints.create(endpoints.config(endpoints.model("a")))
    for _ in range(3):
        endpoints.ask(name)
    with pytest.raises(ClientError):
        endpoints.ask(name, "refuse 400")

    def total(metric: str, statistic: str = "Sum") -> float:
        points = aws.client("cloudwatch").get_metric_statistics(
            Namespace="AWS/SageMaker", MetricName=metric, Period=3600, Statistics=[statistic],
            StartTime=time.time() - 600, EndTime=time.time() + 60,
            Dimensions=[{"Name": "EndpointName", "Value": name}, {"Name": "VariantName", "Value": "v0"}],
        )["Datapoints"]
        return sum(p[statistic] for p in points)

    wait_for(lambda: total("Invocations"), lambda n: n == 4)
    assert (total("Invocation4XXErrors"), total("Invocation5XXErrors")) == (1, 0)
    assert 10 < total("ModelLatency", "Average") < 5e6


def test_a_crashed_container_is_started_again(endpoints) -> None:
    name = endpoints.create(endpoints.config(endpoints.model("a")))
    with pytest.raises(ClientError) as refused:
        endpoints.ask(name, "die")
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 503

    def answers() -> bool:
        try:
            return endpoints.ask(name)["tag"] == "a"
        except ClientError:
            return False

    wait_for(answers, bool)


@pytest.mark.parametrize("behaviour", ["crash", "sick"])
def test_a_container_that_fails_its_ping_fails_the_endpoint(endpoints, behaviour: str) -> None:
    name = endpoints.create(endpoints.config(endpoints.model("bad", BEHAVIOUR=behaviour)), wait=False)
    described = endpoints.settled(name)
    assert described["EndpointStatus"] == "Failed"
    assert "did not pass the ping health check" in described["FailureReason"]


def test_a_role_without_the_model_grant_fails_the_endpoint(endpoints, aws, bucket) -> None:
    poor = aws.role([allow("ecr:*")])
    model = endpoints.model("x", role=poor, container={"ModelDataUrl": f"s3://{bucket}/weights/model.tar.gz"})
    name = endpoints.create(endpoints.config(model), wait=False)
    assert "AccessDenied" in endpoints.settled(name)["FailureReason"]


@pytest.mark.surface("sagemaker:CreateEndpointConfig ShadowProductionVariants")
def test_a_shadow_gets_copies_and_never_answers(endpoints, aws) -> None:
    shadow = [Endpoints.variant(endpoints.model("shadow"), "candidate")]
    name = endpoints.create(endpoints.config(endpoints.model("live"), ShadowProductionVariants=shadow))
    assert {endpoints.ask(name)["tag"] for _ in range(5)} == {"live"}
    assert endpoints.describe(name)["ShadowProductionVariants"][0]["VariantName"] == "candidate"
    logs = aws.client("logs")
    group = f"/aws/sagemaker/Endpoints/{name}"

    def copies() -> int:
        stream = logs.describe_log_streams(logGroupName=group, logStreamNamePrefix="candidate/")["logStreams"][0]
        events = logs.get_log_events(logGroupName=group, logStreamName=stream["logStreamName"])["events"]
        return sum("POST /invocations" in e["message"] for e in events)

    wait_for(copies, lambda n: n == 5)


@pytest.mark.surface("sagemaker-runtime:InvokeEndpointAsync")
def test_an_asynchronous_endpoint_answers_in_s3(endpoints, aws, bucket) -> None:
    output = {"S3OutputPath": f"s3://{bucket}/async/out", "S3FailurePath": f"s3://{bucket}/async/failed"}
    name = endpoints.create(endpoints.config(endpoints.model("later"), AsyncInferenceConfig={"OutputConfig": output}))
    s3 = aws.client("s3")
    s3.put_object(Bucket=bucket, Key="async/in/ok", Body=b"question")
    s3.put_object(Bucket=bucket, Key="async/in/bad", Body=b"refuse 400")
    answers = [
        endpoints.runtime.invoke_endpoint_async(EndpointName=name, InputLocation=f"s3://{bucket}/async/in/{key}")
        for key in ("ok", "bad")
    ]

    def read(uri: str) -> str:
        found = s3.list_objects_v2(Bucket=bucket, Prefix=uri.removeprefix(f"s3://{bucket}/"))
        if not found["KeyCount"]:
            return ""
        return str(s3.get_object(Bucket=bucket, Key=found["Contents"][0]["Key"])["Body"].read().decode())

    assert json.loads(wait_for(lambda: read(answers[0]["OutputLocation"]), bool))["input"] == "question"
    assert "refused" in wait_for(lambda: read(answers[1]["FailureLocation"]), bool)
    with pytest.raises(ClientError, match="asynchronous"):
        endpoints.ask(name)


def test_endpoint_states_reach_eventbridge_in_capitals(endpoints, aws) -> None:
    sqs, events = aws.client("sqs"), aws.client("events")
    url = sqs.create_queue(QueueName="endpoint-states")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    pattern = {"detail-type": ["SageMaker Endpoint State Change"], "detail": {"EndpointStatus": ["IN_SERVICE"]}}
    events.put_rule(Name="serving", EventPattern=json.dumps(pattern))
    events.put_targets(Rule="serving", Targets=[{"Id": "q", "Arn": arn}])
    name = endpoints.create(endpoints.config(endpoints.model("a")))
    found = wait_for(lambda: sqs.receive_message(QueueUrl=url).get("Messages"), bool)
    assert json.loads(found[0]["Body"])["detail"]["EndpointName"] == name
    events.remove_targets(Rule="serving", Ids=["q"])


def test_an_isolated_container_has_no_credentials(endpoints, aws, image, role) -> None:
    for isolated in (True, False):
        name = f"isolated-{uuid.uuid4().hex[:6]}"
        endpoints.sagemaker.create_model(
            ModelName=name, ExecutionRoleArn=role, PrimaryContainer={"Image": image}, EnableNetworkIsolation=isolated
        )
        assert endpoints.ask(endpoints.create(endpoints.config(name)))["secret"] is not isolated

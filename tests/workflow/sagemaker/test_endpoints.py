"""Endpoints serve, change their fleet without a gap, and roll back silently."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.workflow.sagemaker.conftest import Aws, allow, wait_for


class Endpoints:
    """Makes models, configurations and endpoints with names of their own."""

    def __init__(self, aws: Aws, image: str, role: str) -> None:
        self.aws, self.image, self.role = aws, image, role
        self.sagemaker, self.runtime = aws.client("sagemaker"), aws.client("sagemaker-runtime")
        self.made: list[str] = []

    def model(self, tag: str, *, role: str = "", container: dict[str, Any] | None = None, **environment: str) -> str:
        name = f"model-{tag}-{uuid.uuid4().hex[:6]}"
        self.sagemaker.create_model(
            ModelName=name, ExecutionRoleArn=role or self.role,
            PrimaryContainer={"Image": self.image, "Environment": {"TAG": tag, **environment}, **(container or {})},
        )
        return name

    def config(self, *models: str, weights: tuple[float, ...] = (1.0, 1.0), **options: Any) -> str:
        name = f"config-{uuid.uuid4().hex[:8]}"
        variants = [self.variant(m, f"v{i}", w) for i, (m, w) in enumerate(zip(models, weights, strict=False))]
        self.sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=variants, **options)
        return name

    @staticmethod
    def variant(model: str, name: str, weight: float = 1.0) -> dict[str, Any]:
        return {"VariantName": name, "ModelName": model, "InitialInstanceCount": 1,
                "InstanceType": "ml.m5.large", "InitialVariantWeight": weight}

    def create(self, config: str, *, wait: bool = True) -> str:
        name = f"endpoint-{uuid.uuid4().hex[:8]}"
        self.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=config)
        self.made.append(name)
        if wait:
            assert self.settled(name)["EndpointStatus"] == "InService"
        return name

    def describe(self, name: str) -> dict[str, Any]:
        return dict(self.sagemaker.describe_endpoint(EndpointName=name))

    def settled(self, name: str) -> dict[str, Any]:
        busy = ("Creating", "Updating", "RollingBack")
        return dict(wait_for(lambda: self.describe(name), lambda e: e["EndpointStatus"] not in busy))

    def ask(self, name: str, text: str = "hi", **options: Any) -> dict[str, Any]:
        reply = self.runtime.invoke_endpoint(EndpointName=name, Body=text.encode(), ContentType="text/plain", **options)
        return {**json.loads(reply["Body"].read()), "_variant": reply["InvokedProductionVariant"], "_reply": reply}


@pytest.fixture
def endpoints(aws, image, role):
    made = Endpoints(aws, image, role)
    yield made
    for name in made.made:
        wait_for(lambda n=name: made.settled(n), bool)
        made.sagemaker.delete_endpoint(EndpointName=name)


@pytest.fixture(scope="module")
def alarm(aws) -> Callable[[str], None]:
    aws.client("cloudwatch").put_metric_alarm(
        AlarmName="canary-abort", Namespace="Test", MetricName="Abort", Statistic="Sum", Period=60,
        EvaluationPeriods=1, Threshold=1, ComparisonOperator="GreaterThanOrEqualToThreshold",
    )

    def set_state(value: str) -> None:
        aws.client("cloudwatch").set_alarm_state(AlarmName="canary-abort", StateValue=value, StateReason="test")

    set_state("OK")
    return set_state


def canary(wait_s: int, *, percent: int = 50, termination_s: int = 0, **more: Any) -> dict[str, Any]:
    routing = {"Type": "CANARY", "CanarySize": {"Type": "CAPACITY_PERCENT", "Value": percent},
               "WaitIntervalInSeconds": wait_s}
    policy = {"TrafficRoutingConfiguration": routing, "TerminationWaitInSeconds": termination_s, **more}
    return {"BlueGreenUpdatePolicy": policy,
            "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": "canary-abort"}]}}


@pytest.mark.surface("sagemaker:CreateModel", "sagemaker:CreateEndpointConfig", "sagemaker:CreateEndpoint",
                     "sagemaker-runtime:InvokeEndpoint", "sagemaker:DeleteEndpoint")
def test_an_endpoint_serves_its_model_files(endpoints, aws, bucket) -> None:
    aws.client("s3").put_object(Bucket=bucket, Key="weights/one/model.json", Body=b'{"words": 7}')
    source = {"S3DataSource": {"S3Uri": f"s3://{bucket}/weights/one/", "S3DataType": "S3Prefix", "CompressionType": "None"}}
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


@pytest.mark.surface("sagemaker:UpdateEndpoint")
def test_an_update_leaves_no_gap_and_requests_in_flight_finish(endpoints) -> None:
    name = endpoints.create(endpoints.config(endpoints.model("old")))
    new = endpoints.config(endpoints.model("new"))
    answers: list[str] = []
    stop = threading.Event()

    def load() -> None:
        while not stop.is_set():
            answers.append(endpoints.ask(name, "sleep 0.05")["tag"])

    workers = [threading.Thread(target=load) for _ in range(4)]
    for worker in workers:
        worker.start()
    wait_for(lambda: answers, bool)
    endpoints.sagemaker.update_endpoint(EndpointName=name, EndpointConfigName=new)
    with pytest.raises(ClientError, match="Cannot update in-progress endpoint"):
        endpoints.sagemaker.update_endpoint(EndpointName=name, EndpointConfigName=new)
    assert endpoints.settled(name)["EndpointConfigName"] == new
    count = len(answers)
    wait_for(lambda: len(answers), lambda n: n > count + 8)
    stop.set()
    for worker in workers:
        worker.join()  # a failed request would have ended its worker before
    assert answers[0] == "old"
    assert answers[-1] == "new"
    assert answers.index("new") > 0


@pytest.mark.surface("sagemaker:UpdateEndpoint DeploymentConfig CANARY")
def test_a_canary_shares_traffic_and_then_takes_all(endpoints, alarm) -> None:
    old = endpoints.config(endpoints.model("old"))
    name, new = endpoints.create(old), endpoints.config(endpoints.model("new"))
    deployment = canary(120)  # two seconds with the clock factor of the tests
    endpoints.sagemaker.update_endpoint(EndpointName=name, EndpointConfigName=new, DeploymentConfig=deployment)
    wait_for(lambda: endpoints.ask(name)["tag"], lambda t: t == "new")
    described = endpoints.describe(name)
    assert (described["EndpointStatus"], described["EndpointConfigName"]) == ("Updating", old)
    assert described["PendingDeploymentSummary"]["EndpointConfigName"] == new
    assert set(endpoints.ask(name)["tag"] for _ in range(30)) == {"old", "new"}
    final = endpoints.settled(name)
    assert (final["EndpointStatus"], final["EndpointConfigName"]) == ("InService", new)
    assert final["LastDeploymentConfig"]["BlueGreenUpdatePolicy"]["TrafficRoutingConfiguration"]["Type"] == "CANARY"
    assert {endpoints.ask(name)["tag"] for _ in range(10)} == {"new"}


@pytest.mark.surface("sagemaker:UpdateEndpoint AutoRollbackConfiguration")
def test_an_alarm_during_the_bake_rolls_back_silently(endpoints, alarm) -> None:
    old = endpoints.config(endpoints.model("old"))
    name, new = endpoints.create(old), endpoints.config(endpoints.model("new"))
    endpoints.sagemaker.update_endpoint(
        EndpointName=name, EndpointConfigName=new, DeploymentConfig=canary(3600)
    )
    wait_for(lambda: endpoints.ask(name)["tag"], lambda t: t == "new")
    alarm("ALARM")
    final = endpoints.settled(name)
    alarm("OK")
    assert (final["EndpointStatus"], final["EndpointConfigName"]) == ("InService", old)
    assert "FailureReason" not in final
    assert {endpoints.ask(name)["tag"] for _ in range(10)} == {"old"}


def test_the_termination_wait_still_watches_alarms(endpoints, alarm) -> None:
    old = endpoints.config(endpoints.model("old"))
    name, new = endpoints.create(old), endpoints.config(endpoints.model("new"))
    deployment = {
        "BlueGreenUpdatePolicy": {
            "TrafficRoutingConfiguration": {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 0},
            "TerminationWaitInSeconds": 3600,
        },
        "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": "canary-abort"}]},
    }
    endpoints.sagemaker.update_endpoint(EndpointName=name, EndpointConfigName=new, DeploymentConfig=deployment)
    wait_for(lambda: {endpoints.ask(name)["tag"] for _ in range(5)}, lambda t: t == {"new"})
    alarm("ALARM")
    assert endpoints.settled(name)["EndpointConfigName"] == old
    alarm("OK")


def test_linear_steps_reach_the_new_fleet(endpoints, alarm) -> None:
    name = endpoints.create(endpoints.config(endpoints.model("old")))
    new = endpoints.config(endpoints.model("new"))
    routing = {"Type": "LINEAR", "LinearStepSize": {"Type": "CAPACITY_PERCENT", "Value": 50}, "WaitIntervalInSeconds": 60}
    deployment = {"BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": routing}}
    began = time.monotonic()
    endpoints.sagemaker.update_endpoint(EndpointName=name, EndpointConfigName=new, DeploymentConfig=deployment)
    assert endpoints.settled(name)["EndpointConfigName"] == new
    assert time.monotonic() - began >= 2  # two steps of a minute each, divided by the clock factor


def test_a_new_fleet_that_does_not_start_rolls_back_silently(endpoints) -> None:
    old = endpoints.config(endpoints.model("old"))
    name, new = endpoints.create(old), endpoints.config(endpoints.model("bad", BEHAVIOUR="crash"))
    endpoints.sagemaker.update_endpoint(EndpointName=name, EndpointConfigName=new)
    final = endpoints.settled(name)
    assert (final["EndpointStatus"], final["EndpointConfigName"]) == ("InService", old)
    assert endpoints.ask(name)["tag"] == "old"


def test_a_roll_back_to_a_configuration_that_is_gone_says_so(endpoints, alarm) -> None:
    old = endpoints.config(endpoints.model("old"))
    name, new = endpoints.create(old), endpoints.config(endpoints.model("bad", BEHAVIOUR="sick"))
    endpoints.sagemaker.update_endpoint(EndpointName=name, EndpointConfigName=new)
    endpoints.sagemaker.delete_endpoint_config(EndpointConfigName=old)
    final = endpoints.settled(name)
    assert final["EndpointStatus"] == "UpdateRollbackFailed"
    assert "Could not find endpoint configuration" in final["FailureReason"]


def test_the_whole_update_has_a_time_limit(endpoints, alarm) -> None:
    old = endpoints.config(endpoints.model("old"))
    name, new = endpoints.create(old), endpoints.config(endpoints.model("new"))
    deployment = canary(3600, MaximumExecutionTimeoutInSeconds=600)
    endpoints.sagemaker.update_endpoint(EndpointName=name, EndpointConfigName=new, DeploymentConfig=deployment)
    assert endpoints.settled(name)["EndpointConfigName"] == old


@pytest.mark.parametrize(
    ("deployment", "words"),
    [
        (canary(60, percent=51), "1 to 50 percent"),
        ({"AutoRollbackConfiguration": {"Alarms": [{"AlarmName": "not-there"}]}}, "not-there does not exist"),
    ],
)
def test_a_wrong_deployment_configuration_is_refused(endpoints, alarm, deployment, words: str) -> None:
    config = endpoints.config(endpoints.model("a"))
    name = endpoints.create(config)
    with pytest.raises(ClientError, match=words):
        endpoints.sagemaker.update_endpoint(EndpointName=name, EndpointConfigName=config, DeploymentConfig=deployment)
    assert endpoints.describe(name)["EndpointStatus"] == "InService"


def test_alarms_are_read_with_the_execution_role(endpoints, alarm, aws) -> None:
    poor = aws.role([allow("ecr:*")])
    config = endpoints.config(endpoints.model("a", role=poor))
    name = endpoints.create(config)
    with pytest.raises(ClientError, match="cloudwatch:DescribeAlarms"):
        endpoints.sagemaker.update_endpoint(EndpointName=name, EndpointConfigName=config, DeploymentConfig=canary(60))


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

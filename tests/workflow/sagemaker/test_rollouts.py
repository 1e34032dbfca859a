"""An endpoint changes its fleet without a gap, and rolls back silently."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.workflow.sagemaker.conftest import allow, wait_for


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
    size = {"Type": "CAPACITY_PERCENT", "Value": 50}
    routing = {"Type": "LINEAR", "LinearStepSize": size, "WaitIntervalInSeconds": 60}
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

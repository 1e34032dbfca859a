"""Has the endpoint arrived? Believed only when the endpoint itself says so."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from botocore.response import StreamingBody
from botocore.stub import ANY, Stubber

from contracts import naming
from lambdas.release_check.handler import handler
from lambdas.release_check.logic import scaling_policy
from lambdas.shared.errors import ProbeFailed
from tests.unit.lambdas.account import STORY, Account, endpoint_answer, serving_spec

Stub = Callable[[str], Stubber]
ENDPOINT = naming.endpoint(STORY)


def check(context: Any) -> dict[str, Any]:
    return handler({"story": STORY, "endpoint_config_name": "wanted", "version": "2"}, context)


def describe(stub: Stub, status: str, config: str, **more: str) -> None:
    stub("sagemaker").add_response("describe_endpoint", endpoint_answer(status, config, **more))


def probe_answer(stub: Stub, body: bytes) -> None:
    stub("sagemaker-runtime").add_response(
        "invoke_endpoint", {"Body": StreamingBody(io.BytesIO(body), len(body))},
        {"EndpointName": ENDPOINT, "ContentType": "application/json", "CustomAttributes": ANY, "Body": ANY})


def test_an_endpoint_that_answers_with_the_wanted_version_serves_and_may_scale(
    account: Account, context: Any, stub: Stub
) -> None:
    spec = serving_spec()
    account.ssm.put_parameter(Name=naming.serving_spec_parameter(STORY), Value=spec.to_json(), Type="String")
    describe(stub, "InService", "wanted")
    probe_answer(stub, json.dumps({"model_version": "2"}).encode())
    scaling = stub("application-autoscaling")
    where = {"ServiceNamespace": "sagemaker", "ResourceId": f"endpoint/{ENDPOINT}/variant/champion",
             "ScalableDimension": "sagemaker:variant:DesiredInstanceCount"}
    scaling.add_response("register_scalable_target", {}, {**where, "MinCapacity": 2, "MaxCapacity": 12})
    scaling.add_response("put_scaling_policy", {"PolicyARN": "arn"}, scaling_policy(ENDPOINT, spec))
    assert check(context) == {"state": "serving", "reason": ""}


@pytest.mark.parametrize("status", ["Updating", "Creating", "RollingBack", "SystemUpdating"])
def test_a_moving_endpoint_is_waited_for(account: Account, context: Any, stub: Stub, status: str) -> None:
    describe(stub, status, "old", pending="wanted")
    assert check(context) == {"state": "updating", "reason": status}


def test_a_silent_roll_back_is_noticed(account: Account, context: Any, stub: Stub) -> None:
    describe(stub, "InService", "old", reason="alarm abort is in ALARM")
    assert check(context) == {"state": "rolled_back", "reason": "serves old, not wanted alarm abort is in ALARM"}


@pytest.mark.parametrize("status", ["Failed", "UpdateRollbackFailed", "OutOfService"])
def test_what_will_not_get_better_by_itself_has_failed(
    account: Account, context: Any, stub: Stub, status: str
) -> None:
    describe(stub, status, "wanted", reason="no ping")
    assert check(context) == {"state": "failed", "reason": f"{status}: no ping"}


def test_an_endpoint_that_is_gone_has_failed(account: Account, context: Any, stub: Stub) -> None:
    stub("sagemaker").add_client_error("describe_endpoint", "ValidationException", "Could not find endpoint")
    assert check(context) == {"state": "failed", "reason": "the endpoint does not exist"}


def test_another_version_behind_the_wanted_config_has_failed(account: Account, context: Any, stub: Stub) -> None:
    describe(stub, "InService", "wanted")
    probe_answer(stub, b'{"model_version": "1"}')
    assert check(context) == {"state": "failed", "reason": "version 1 answers, not 2"}


@pytest.mark.parametrize("body", [b"oops", b"[]", b"{}", b'"text"'])
def test_an_answer_without_a_version_is_worth_a_retry(
    account: Account, context: Any, stub: Stub, body: bytes
) -> None:
    describe(stub, "InService", "wanted")
    probe_answer(stub, body)
    with pytest.raises(ProbeFailed, match="names no model_version"):
        check(context)


def test_an_endpoint_that_does_not_answer_is_worth_a_retry(account: Account, context: Any, stub: Stub) -> None:
    describe(stub, "InService", "wanted")
    stub("sagemaker-runtime").add_client_error("invoke_endpoint", "ModelError")
    with pytest.raises(ProbeFailed, match="did not answer"):
        check(context)

"""What all functions rest on: clients, environment, metrics, log lines."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.stub import Stubber

from contracts.functions import FUNCTIONS, LeaseEnv
from lambdas.shared.aws import client, environment, error_code
from lambdas.shared.dynamo import from_item, to_item
from lambdas.shared.objects import S3Uri, list_objects
from lambdas.shared.observability import instrumented, logger, put_metric
from tests.unit.lambdas.account import ARTIFACTS, Account

LAMBDAS = Path(__file__).parents[3] / "lambdas"


def test_every_declared_function_has_a_handler_and_every_handler_is_declared() -> None:
    found = {p.parent.name for p in LAMBDAS.glob("*/handler.py")}
    assert found == set(FUNCTIONS)
    for function in FUNCTIONS.values():
        module = __import__(function.handler.removesuffix(".handler"), fromlist=["handler"])
        assert callable(module.handler)


def test_an_environment_is_parsed_once_and_names_all_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="LeaseEnv: CONTROL_TABLE is missing; LEASE_TTL_S is missing"):
        environment(LeaseEnv)
    monkeypatch.setenv("CONTROL_TABLE", "t")
    monkeypatch.setenv("LEASE_TTL_S", "60")
    parsed = environment(LeaseEnv)
    assert parsed == LeaseEnv(CONTROL_TABLE="t", LEASE_TTL_S=60)
    assert environment(LeaseEnv) is parsed


def test_clients_wait_a_bounded_time_and_are_kept() -> None:
    config = client("s3").meta.config
    assert (config.connect_timeout, config.read_timeout) == (2, 10)
    assert config.retries == {"mode": "standard", "total_max_attempts": 3}
    assert client("s3") is client("s3")


def test_xray_is_loaded_for_a_sampled_invocation_only(context: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    segments: list[str] = []

    class RecordingTracer:
        """Stands for X-Ray's daemon, which is not here."""

        def __init__(self, service: str, patch_modules: tuple[str, ...]) -> None:
            assert patch_modules == ("botocore",)
            self.service = service

        def capture_lambda_handler(self, function: Any, *, capture_response: bool, capture_error: bool) -> Any:
            # either would put answers or error texts into traces
            assert (capture_response, capture_error) == (False, False)
            segments.append(self.service)
            return function

    monkeypatch.setattr("aws_lambda_powertools.tracing.Tracer", RecordingTracer)
    handler = instrumented("traced")(lambda event, context: {})
    for trace in ("", "Root=1-2-3;Sampled=0", "Root=1-2-3;Sampled=1"):
        monkeypatch.setenv("_X_AMZN_TRACE_ID", trace)
        handler({}, context)
    assert segments == ["traced"]


def test_a_sampled_invocation_is_traced_by_powertools(context: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_X_AMZN_TRACE_ID", "Root=1-2-3;Sampled=1")
    assert instrumented("really_traced")(lambda event, context: {"answer": 1})({}, context) == {"answer": 1}


def test_only_an_aws_error_has_an_aws_code() -> None:
    assert error_code(ValueError("x")) == ""


def test_items_survive_the_way_to_the_table_and_back() -> None:
    values = {"text": "x", "number": 7, "nothing": None, "flag": True, "nested": {"n": 1, "deep": {"m": 2}}}
    assert from_item(to_item(values)) == values


def test_a_fraction_comes_back_as_a_float() -> None:
    assert from_item({"x": {"N": "0.5"}}) == {"x": 0.5}


def test_folder_markers_are_no_objects(account: Account) -> None:
    account.put_object(ARTIFACTS, "a/", b"")
    account.put_object(ARTIFACTS, "a/b", b"1")
    assert [e["Key"] for e in list_objects(account.s3, S3Uri(ARTIFACTS, "a/"))] == ["a/b"]


def test_an_s3_address_knows_its_neighbours() -> None:
    uri = S3Uri.parse("s3://bucket/a/b.json")
    assert str(uri.parent().child("c.json")) == "s3://bucket/a/c.json"
    assert str(S3Uri.parse("s3://bucket/top").parent()) == "s3://bucket/"


def test_many_data_points_go_in_several_requests(stub: Callable[[str], Stubber]) -> None:
    cloudwatch = stub("cloudwatch")
    for _ in range(3):
        cloudwatch.add_response("put_metric_data", {})
    put_metric(cloudwatch.client, [("CanaryAbort", 1, {"story": "s"})] * 1_001)


@pytest.fixture
def log_lines(monkeypatch: pytest.MonkeyPatch) -> Callable[[], str]:
    """What the functions' logger wrote."""
    stream = io.StringIO()
    monkeypatch.setattr(logger.registered_handler, "stream", stream)
    return stream.getvalue


def test_a_log_line_carries_ids_and_never_the_event(context: Any, log_lines: Callable[[], str]) -> None:
    @instrumented("example")
    def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
        return {"text": event["text"]}

    handler({"story": "s", "run_id": "r", "text": "customer words", "version": 3}, context)
    line = json.loads(log_lines())
    assert (line["message"], line["function"], line["story"], line["run_id"]) == ("step done", "example", "s", "r")
    assert line["function_request_id"] == "request-1"
    assert "customer words" not in log_lines()
    assert "version" not in line  # an id is text; anything else in its place is not ours


def test_a_failure_is_logged_by_its_class_and_passed_on(context: Any, log_lines: Callable[[], str]) -> None:
    @instrumented("example")
    def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
        raise KeyError("customer words")

    with pytest.raises(KeyError):
        handler({}, context)
    line = json.loads(log_lines())
    assert (line["message"], line["error"]) == ("step failed", "KeyError")
    assert "customer words" not in log_lines()

"""A mocked account with the platform's tables, buckets and keys, and botocore stubs for what moto lacks."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber
from moto import mock_aws

from contracts import naming, records
from lambdas.shared import aws as lambda_aws
from tests.unit.lambdas.account import (
    ACCOUNT,
    ARTIFACTS,
    AUDIT,
    CAPTURE,
    CONTROL,
    GROUP_ARN,
    HOME_ARTIFACTS,
    IMAGE,
    LAKE,
    REGION,
    STORY,
    Account,
)

# Made after moto is imported, so moto sees its calls. A session of its own reads each service's model once
# for all tests instead of once for each.
SESSION = boto3.Session(region_name=REGION, aws_access_key_id="testing", aws_secret_access_key="testing")


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No real credentials, no client or environment kept from another test."""
    for name, value in {
        "AWS_DEFAULT_REGION": REGION, "AWS_REGION": REGION, "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing", "POWERTOOLS_TRACE_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_ENDPOINT_URL", "AWS_PROFILE", "_X_AMZN_TRACE_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(boto3, "client", SESSION.client)
    caches = (lambda_aws.client, lambda_aws.environment)
    for cached in caches:
        cached.cache_clear()
    yield
    for cached in caches:
        cached.cache_clear()


def _table(dynamodb: Any, name: str, keys: tuple[str, str]) -> None:
    dynamodb.create_table(
        TableName=name, BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": k, "AttributeType": "S"} for k in keys],
        KeySchema=[{"AttributeName": k, "KeyType": t} for k, t in zip(keys, ("HASH", "RANGE"), strict=True)],
    )


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    with mock_aws():
        dynamodb, s3, ssm, kms = (SESSION.client(s) for s in ("dynamodb", "s3", "ssm", "kms"))
        _table(dynamodb, CONTROL, (records.CONTROL_PARTITION_KEY, records.CONTROL_SORT_KEY))
        _table(dynamodb, AUDIT, (records.AUDIT_PARTITION_KEY, records.AUDIT_SORT_KEY))
        for bucket in (ARTIFACTS, LAKE, CAPTURE, HOME_ARTIFACTS):
            s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
        key = kms.create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")["KeyMetadata"]["Arn"]
        for name, value in {
            "CONTROL_TABLE": CONTROL, "AUDIT_TABLE": AUDIT, "LEASE_TTL_S": "3600", "LAKE_BUCKET": LAKE,
            "ARTIFACTS_BUCKET": ARTIFACTS, "CAPTURE_BUCKET": CAPTURE, "CAPTURE_DELAY_S": "300",
            "SIGNING_KEY_ARN": key, "SERVING_IMAGE": IMAGE, "MODEL_PACKAGE_GROUP_ARN": GROUP_ARN,
            "STORY": STORY, "RETRAIN_STATE_MACHINE_ARN":
                f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:{naming.retrain_state_machine(STORY)}",
            "POLL_S": "1", "HOME_BUCKET": HOME_ARTIFACTS, "HOME_REGION": REGION, "HOME_KEY_SHA256": "unset",
        }.items():
            monkeypatch.setenv(name, value)
        yield Account(dynamodb=dynamodb, s3=s3, ssm=ssm, kms=kms, key_arn=key)


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Stubber]]:
    """`stub("sagemaker")` gives the Stubber behind the functions' client; all that is queued must be called."""
    real = SESSION.client
    stubbers: dict[str, Stubber] = {}

    def client(service: str, **options: Any) -> Any:
        return stubbers[service].client if service in stubbers else real(service, **options)

    def stub_service(service: str) -> Stubber:
        if service not in stubbers:
            stubbers[service] = Stubber(real(service))
            stubbers[service].activate()
            lambda_aws.client.cache_clear()  # a function may have made its client already
        return stubbers[service]

    monkeypatch.setattr(boto3, "client", client)
    yield stub_service
    for stubber in stubbers.values():
        stubber.assert_no_pending_responses()


@pytest.fixture
def context() -> SimpleNamespace:
    return SimpleNamespace(
        function_name="function", memory_limit_in_mb=128, aws_request_id="request-1",
        invoked_function_arn=f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:function",
        get_remaining_time_in_millis=lambda: 900_000,
    )


@pytest.fixture
def emitted(capsys: pytest.CaptureFixture[str]) -> Callable[[str], list[dict[str, Any]]]:
    """`emitted("FlagFallback")`: the EMF lines of that metric so far."""
    seen: list[dict[str, Any]] = []

    def find(metric: str) -> list[dict[str, Any]]:
        for line in capsys.readouterr().out.splitlines():
            if line.startswith("{") and '"_aws"' in line:
                seen.append(json.loads(line))
        return [line for line in seen if metric in line]

    return find

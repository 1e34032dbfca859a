"""The vendors' door and the weekly expiry: at home only, throttled, logged, and with as little reach as can be."""

from __future__ import annotations

import json
from typing import Any

import pytest

from contracts import naming
from contracts.vendor_callback import ROUTE, VENDORS
from tests.infrastructure.conftest import Assembly

API = "AWS::ApiGatewayV2::"


def only(assembly: Assembly, kind: str, deployment: str = "jp") -> dict[str, Any]:
    [found] = assembly.resources(kind, deployment=deployment).values()
    return dict(found["Properties"])


@pytest.mark.parametrize("deployment", ["us", "eu"])
def test_receiving_regions_have_no_door_no_vendors_secret_and_nothing_to_expire(
        assembly: Assembly, deployment: str) -> None:
    resources = assembly.all_resources(deployment=deployment)
    assert not [r for r in resources.values() if r["Type"].startswith(API)]
    text = json.dumps(resources)
    assert "label-vendors" not in text
    assert naming.label_expiry_state_machine() not in text


def test_the_door_has_one_route_a_throttle_and_an_access_log_without_bodies(assembly: Assembly) -> None:
    assert only(assembly, API + "Api")["ProtocolType"] == "HTTP"
    assert only(assembly, API + "Route")["RouteKey"] == ROUTE
    stage = only(assembly, API + "Stage")
    assert 0 < stage["DefaultRouteSettings"]["ThrottlingRateLimit"] <= 10
    logged = json.loads(stage["AccessLogSettings"]["Format"])
    assert set(logged) == {"request_id", "at", "route", "status", "bytes", "error"}
    secrets = [s["Properties"] for s in assembly.resources("AWS::SecretsManager::Secret").values()]
    assert {s["Name"] for s in secrets if "Name" in s} == {naming.vendor_secret(vendor) for vendor in VENDORS}
    assert all(s["KmsKeyId"] for s in secrets)


def test_the_function_behind_the_door_reads_no_object_and_writes_the_inbox_only(assembly: Assembly) -> None:
    [function] = [f["Properties"] for f in assembly.resources("AWS::Lambda::Function").values()
                  if "vendor_callback" in f["Properties"]["Handler"]]
    role = assembly.all_resources()[function["Role"]["Fn::GetAtt"][0]]
    statements = role["Properties"]["Policies"][0]["PolicyDocument"]["Statement"]
    by_action = {action: s for s in statements for action in ([s["Action"]] if isinstance(s["Action"], str)
                                                              else s["Action"])}
    assert not {a for a in by_action if a.startswith("s3:Get")}
    assert by_action["s3:ListBucket"]["Condition"] == {"StringLike": {"s3:prefix": ["tasks/*"]}}
    assert json.dumps(by_action["s3:PutObject"]["Resource"]).count("/inbox/*") == 1
    assert len(by_action["secretsmanager:GetSecretValue"]["Resource"]) == len(VENDORS)


def test_a_delivery_starts_the_ingest_machine_with_its_key_and_nothing_else(assembly: Assembly) -> None:
    rules = [r["Properties"] for r in assembly.resources("AWS::Events::Rule").values()]
    [rule] = [r for r in rules if r["EventPattern"]["source"] == ["aws.s3"]]
    assert rule["EventPattern"]["detail"]["object"] == {"key": [{"prefix": "inbox/"}]}
    assert rule["Targets"][0]["InputTransformer"] == {
        "InputPathsMap": {"key": "$.detail.object.key"}, "InputTemplate": '{"key": <key>}'}
    buckets = [b["Properties"] for b in assembly.resources("AWS::S3::Bucket").values()]
    assert [b["BucketName"]["Fn::Join"][1][0] for b in buckets if "NotificationConfiguration" in b] == [
        "mangaassist-lake-jp-"]


def test_snapshots_expire_every_week_and_a_failure_pages(assembly: Assembly) -> None:
    name = naming.label_expiry_state_machine()
    [schedule] = [s["Properties"] for s in assembly.resources("AWS::Scheduler::Schedule").values()
                  if s["Properties"]["Name"] == name]
    assert "SUN" in schedule["ScheduleExpression"]
    alarms = {a["Properties"]["AlarmName"]: a["Properties"]
              for a in assembly.resources("AWS::CloudWatch::Alarm").values()}
    for ending in ("failed", "timed-out"):
        assert alarms[f"{name}-{ending}"]["AlarmDescription"].endswith("docs/runbooks/label-expiry-failed.md")
        assert alarms[f"{name}-{ending}"]["AlarmActions"]

"""Ends Promoted and SkippedNoNewLabels: what a promotion leaves behind, once, whatever gets lost on the way."""

from __future__ import annotations

import hashlib
import json

import pytest

from cli import executions
from contracts import events, naming
from tests.support.deployment import ENDPOINT, Deployed

pytestmark = pytest.mark.workflow
FIRST = "first-promotion"


def test_the_first_promotion_leaves_pointer_endpoint_registry_and_audit_trail_in_agreement(jp: Deployed) -> None:
    record = jp.audit(FIRST, "promote")
    pointer = json.loads(record["detail"])["pointer"]
    assert pointer["run_id"] == FIRST
    assert pointer["previous"] is None
    assert json.loads(jp.audit(FIRST, events.PROMOTED)["detail"])["end"]["version"] == pointer["version"]
    assert jp.package_status(pointer["version"]) == "Approved"
    assert configs_of(jp, pointer["version"])


def test_pointer_endpoint_and_answers_name_one_version(jp: Deployed) -> None:
    version = jp.pointer()["version"]
    assert jp.endpoint().status == "InService"
    assert jp.endpoint().config in configs_of(jp, version)
    assert jp.ask()["model_version"] == version


def test_the_promoted_manifest_lists_the_bytes_that_lie_there_and_is_signed_by_our_key(jp: Deployed) -> None:
    bucket, prefix = jp.pointer()["model_uri"].removeprefix("s3://").split("/", 1)
    s3 = jp.aws.client("s3")

    def read(name: str) -> bytes:
        return bytes(s3.get_object(Bucket=bucket, Key=prefix + name)["Body"].read())

    manifest = read(naming.MANIFEST_FILE)
    assert hashlib.sha256(manifest).hexdigest() == jp.pointer()["manifest_sha256"]
    files = json.loads(manifest)["files"]
    listed = {entry["Key"].removeprefix(prefix)
              for entry in s3.list_objects_v2(Bucket=bucket, Prefix=prefix)["Contents"]}
    assert listed == {*files, naming.MANIFEST_FILE, naming.SIGNATURE_FILE}
    assert {name: hashlib.sha256(read(name)).hexdigest() for name in files} == files


def test_a_lost_answer_of_update_endpoint_is_looked_after_and_the_run_promotes(jp: Deployed) -> None:
    before = jp.pointer()
    with jp.aws.fault(service="sagemaker", operation="UpdateEndpoint", kind="lose_answer", times=1):
        run = jp.run(reason="an answer gets lost")
    assert run.outcome == events.PROMOTED, run
    assert [call for call in jp.calls("UpdateEndpoint") if int(call["status"]) >= 500], "the fault did nothing"
    after = jp.pointer()
    assert after["previous"]["version"] == before["version"]
    assert after["run_id"] == run.name
    assert jp.endpoint().config in configs_of(jp, after["version"])
    assert jp.ask()["model_version"] == after["version"]
    canary = json.loads(jp.audit(run.name, events.PROMOTED)["detail"])["end"]["canary"]
    assert f"answers of version {after['version']} beside " in canary, "the judge looked, and says at how much"


def test_a_weekly_run_without_new_labels_is_skipped_and_the_same_name_is_the_same_execution(jp: Deployed) -> None:
    jp.with_newest_labels()
    with jp.serving_unchanged():
        name = executions.new_name("weekly")
        first, second = (jp.start(name=name, trigger="weekly") for _ in range(2))
        assert first == second
        run = jp.finish(first)
        assert run.outcome == events.SKIPPED_NO_NEW_LABELS, run
    assert "StartPipeline" not in run.states
    assert jp.audit(run.name, events.SKIPPED_NO_NEW_LABELS)
    assert len([call for call in jp.calls("CreateProcessingJob") if int(call["status"]) == 200]) == 1
    with pytest.raises(jp.target.client("stepfunctions").exceptions.ExecutionAlreadyExists):
        jp.start(name=name, trigger="weekly", reason="ended names stay taken")


def configs_of(jp: Deployed, version: str) -> list[str]:
    """The endpoint configs of a version, one for each serving spec it was ever served with."""
    configs = jp.aws.client("sagemaker").list_endpoint_configs(NameContains=f"{ENDPOINT}-v{version}-")
    return [str(config["EndpointConfigName"]) for config in configs["EndpointConfigs"]]

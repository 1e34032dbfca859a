"""End Failed: the champion goes on serving, on-call hears of it, the trail says so and the lease is back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from contracts import events, naming
from contracts.kill_switches import promotion_flag
from tests.support.deployment import ENDPOINT, SLUG, Deployed, Run

pytestmark = pytest.mark.workflow
WEIGHTS = "serving/model.bin"


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A version that was published and signed but never promoted."""

    version: str
    bucket: str
    prefix: str


@pytest.fixture(scope="module")
def candidate(promoted: Deployed) -> Candidate:
    """Promotion goes off after its candidate was published; a release that had begun by then is undone."""
    jp = promoted
    jp.come_to_rest()
    flag = promotion_flag(SLUG).name
    with jp.serving_unchanged():
        arn = jp.start(reason="a candidate to tamper with")
        jp.wait_for_state(arn, "PublishSignedCopy")
        with jp.flag(flag, False):
            run = jp.finish(arn)
    assert run.outcome == events.NOT_PROMOTED, run
    assert "MayRelease" in run.states
    assert "Promote" not in run.states
    version = jp.newest_package()
    assert jp.package_status(version) == "PendingManualApproval"
    return candidate_of(jp, version)


def test_a_job_that_is_refused_ends_the_run_as_failed_and_tells_on_call(jp: Deployed) -> None:
    with jp.serving_unchanged(), jp.aws.fault(service="sagemaker", operation="CreateTrainingJob", kind="deny"):
        run = jp.run()
    assert_failed(jp, run, error="PipelineFailed")
    assert "RollBackServing" not in run.states, "serving was never touched"
    told = [call for call in jp.calls("Publish") if call["service"] == "sns"]
    assert [call["status"] for call in told] == [200]


@pytest.mark.parametrize("file", [naming.MANIFEST_FILE, naming.SIGNATURE_FILE, "serving/unlisted.bin"])
def test_a_model_whose_manifest_was_changed_or_that_holds_another_file_is_never_planned(
        jp: Deployed, candidate: Candidate, file: str) -> None:
    with jp.serving_unchanged(), tampered(jp, candidate.bucket, candidate.prefix + file):
        ended = jp.release(candidate.version)
    assert (ended["status"], ended["error"]) == ("FAILED", "ReleaseFailed")
    assert any(error.startswith("SignatureInvalid") for error in jp.errors(ended["executionArn"]))
    assert jp.calls("CreateModel") == []
    assert jp.calls("UpdateEndpoint") == []


def test_a_container_refuses_weights_that_were_changed_before_it_loads_them(
        jp: Deployed, candidate: Candidate) -> None:
    """The manifest is untouched, so only the loader, which hashes what it got, can see it."""
    before = refusals(jp)
    with jp.serving_unchanged(), tampered(jp, candidate.bucket, candidate.prefix + WEIGHTS):
        ended = jp.release(candidate.version)
    assert (ended["status"], ended["error"]) == ("FAILED", "ReleaseRolledBack")
    assert jp.calls("UpdateEndpoint"), "it went as far as the container"
    assert any(WEIGHTS in reason for reason in refusals(jp)[len(before):])


def test_a_candidate_that_does_not_start_is_found_out_and_the_run_fails_with_the_champion_serving(jp: Deployed) -> None:
    """SageMaker's roll-back is silent: the endpoint is InService again, only the config's name tells."""
    # The planner waits for the registry, long enough to change the weights between signing and serving.
    delay = jp.aws.fault(service="sagemaker", operation="DescribeModelPackage", kind="delay", seconds=6,
                         role="release_plan", times=1)
    with jp.serving_unchanged(), delay:
        arn = jp.start(reason="tampered with on the way")
        jp.wait_for_state(arn, "Release")
        on_the_way = candidate_of(jp, jp.newest_package())
        with tampered(jp, on_the_way.bucket, on_the_way.prefix + WEIGHTS):
            run = jp.finish(arn)
    assert_failed(jp, run, error="States.TaskFailed")
    assert "RollBackServing" in run.states
    assert jp.calls("UpdateEndpoint"), "it went as far as the endpoint"


def assert_failed(jp: Deployed, run: Run, *, error: str) -> None:
    assert run.outcome == events.FAILED, run
    assert run.states[-4:] == ("AuditFailure", "NotifyFailure", "GiveLeaseBackAfterFailure", "Failed")
    assert json.loads(jp.audit(run.name, events.FAILED)["detail"])["error"] == error
    assert jp.lease_is_free()


def candidate_of(jp: Deployed, version: str) -> Candidate:
    containers = jp.package(version)["InferenceSpecification"]["Containers"]
    bucket, prefix = containers[0]["ModelDataSource"]["S3DataSource"]["S3Uri"].removeprefix("s3://").split("/", 1)
    return Candidate(version=version, bucket=bucket, prefix=prefix)


@contextmanager
def tampered(jp: Deployed, bucket: str, key: str) -> Iterator[None]:
    """One byte more in an object, or an object that was not there; put right afterwards."""
    s3 = jp.aws.client("s3")
    found = s3.list_objects_v2(Bucket=bucket, Prefix=key).get("Contents")
    before = s3.get_object(Bucket=bucket, Key=key)["Body"].read() if found else None
    s3.put_object(Bucket=bucket, Key=key, Body=(before or b"") + b"\n")
    try:
        yield
    finally:
        if before is None:
            s3.delete_object(Bucket=bucket, Key=key)
        else:
            s3.put_object(Bucket=bucket, Key=key, Body=before)


def refusals(jp: Deployed) -> list[str]:
    """Why containers of the endpoint refused to start, the oldest first."""
    group = f"/aws/sagemaker/Endpoints/{ENDPOINT}"
    pages = jp.aws.client("logs").get_paginator("filter_log_events").paginate(logGroupName=group)
    lines = (event["message"] for page in pages for event in page["events"])
    return [json.loads(line)["reason"] for line in lines if '"refused"' in line]

"""The ends of the receive machine: what home signed becomes this region's own, and everything else is refused by name.

Two embedded AWS, one a region; jp trains and announces, us pulls. Fixtures keep the order: us is refused a tampered
copy, then receives a good one, and any other test starts from there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from contracts import events, naming
from contracts.kill_switches import GLOBAL_FREEZE
from tests.support import iam_check
from tests.support.deployment import SLUG, Deployed, Run
from tests.support.embedded import eventually
from tests.support.receiving import Regions, receiving, refusal

pytestmark = pytest.mark.workflow
OTHER = "arn:aws:states:us-east-1:000000000000:execution:mangaassist-other:run"


@pytest.fixture(scope="module")
def beside(promoted: Deployed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Regions]:
    promoted.come_to_rest()
    with receiving(promoted, tmp_path_factory.mktemp("us")) as found:
        yield found


@dataclass(frozen=True, kw_only=True)
class Refused:
    """The end of a run and what it left: files of home's announced model, the endpoint's status."""

    run: Run
    files: frozenset[str]
    endpoint: str


@pytest.fixture(scope="module")
def refused(beside: Regions) -> Refused:
    key = beside.model_file(naming.EVALUATION_FILE)
    with beside.home_holds(key, beside.flipped(key)):
        run = beside.receive()
    return Refused(run=run, files=own_files(beside), endpoint=beside.us.endpoint().status)


@dataclass(frozen=True, kw_only=True)
class Received:
    run: Run
    pointer: dict[str, Any]
    read: frozenset[str]  # of home's artifacts, by this run and the refused one


@pytest.fixture(scope="module")
def received(beside: Regions, refused: Refused) -> Received:
    run = beside.receive()
    assert run.outcome == events.RECEIVED, run
    home = f":::{beside.jp.target.bucket(naming.ARTIFACTS)}"
    calls = beside.us.aws.local("GET", "calls")
    return Received(run=run, pointer=beside.us.pointer(),
                    read=frozenset(call["resource"] for call in calls if home in call["resource"]))


@pytest.fixture
def regions(beside: Regions, received: Received, jp: Deployed) -> Iterator[Regions]:
    """us serves what jp serves, both at rest."""
    yield beside
    beside.us.aws.local("DELETE", "faults")
    eventually(lambda: beside.us.left_behind() == [], within_s=60)


def own_files(regions: Regions) -> frozenset[str]:
    """What lies in us below the prefix of what home announces."""
    prefix = regions.model_file("")
    listed = regions.us.aws.client("s3").list_objects_v2(
        Bucket=regions.us.target.bucket(naming.ARTIFACTS), Prefix=prefix).get("Contents", [])
    return frozenset(entry["Key"].removeprefix(prefix) for entry in listed)


def test_a_flipped_byte_at_home_is_refused_before_there_is_a_model(beside: Regions, refused: Refused) -> None:
    assert refused.run.outcome == events.REFUSED, refused
    said = refusal(beside.us, refused.run)
    assert said["error"] == "SignatureInvalid"
    assert "evaluation.json differs from home's signed manifest" in said["said"]
    assert not {naming.EVALUATION_FILE, naming.SIGNATURE_FILE} & refused.files
    assert refused.endpoint == "absent"


def test_what_home_serves_is_received_signed_anew_released_and_audited(regions: Regions, received: Received) -> None:
    run, pointer = received.run, received.pointer
    us, home = regions.us, regions.jp.pointer()
    assert pointer["manifest_sha256"] == home["manifest_sha256"], "one digest names one model in every region"
    assert pointer["model_uri"].startswith(f"s3://{us.target.bucket(naming.ARTIFACTS)}/")
    assert (us.ask()["model_version"], pointer["run_id"]) == (pointer["version"], run.name)
    package = us.package(pointer["version"])
    assert package["ModelApprovalStatus"] == "Approved"
    assert package["CustomerMetadataProperties"]["home_version"] == home["version"]
    assert own_files(regions) >= {naming.MANIFEST_FILE, naming.SIGNATURE_FILE, naming.EVALUATION_FILE}
    assert json.loads(us.audit(run.name, events.RECEIVED)["detail"])["end"]["home_version"] == home["version"]
    assert us.audit(run.name, "promote")


def test_what_was_received_before_is_left_alone(regions: Regions) -> None:
    with regions.us.serving_unchanged():
        again = regions.receive()
    assert again.outcome == events.UP_TO_DATE, again


def test_the_copier_read_published_models_of_home_and_nothing_else(regions: Regions, received: Received) -> None:
    home = f"arn:aws:s3:::{regions.jp.target.bucket(naming.ARTIFACTS)}"
    assert any(resource.endswith("/manifest.json") for resource in received.read)
    assert all(r == home or r.startswith(f"{home}/models/{SLUG}/") for r in received.read)


def test_an_older_version_of_home_is_refused_and_the_newer_one_goes_on(regions: Regions) -> None:
    with regions.us.serving_unchanged(), regions.home_announces(version=0, manifest_sha256="0" * 64):
        run = regions.receive()
    assert run.outcome == events.REFUSED, run
    assert refusal(regions.us, run)["error"] == "OlderVersion"


def test_a_version_that_this_region_rejected_is_skipped(regions: Regions) -> None:
    regions.us.aws.client("sagemaker").create_model_package(
        ModelPackageGroupName=naming.model_package_group(SLUG), ModelApprovalStatus="Rejected",
        CustomerMetadataProperties={"manifest_sha256": "1" * 64})
    newer = regions.announced().version + 1
    with regions.us.serving_unchanged(), regions.home_announces(version=newer, manifest_sha256="1" * 64):
        run = regions.receive()
    assert run.outcome == events.SKIPPED_REJECTED, run


def test_kill_switches_and_the_lease_of_this_region_hold(regions: Regions) -> None:
    us = regions.us
    with us.serving_unchanged():
        with us.flag(GLOBAL_FREEZE.name, True):
            assert regions.receive().outcome == events.SKIPPED_FROZEN
        with us.flag(naming.promotion_flag(SLUG), False):
            assert regions.receive().outcome == events.NOT_PROMOTED
        us.lease("take", OTHER)
        try:
            assert regions.receive().outcome == events.SKIPPED_LEASED
        finally:
            us.lease("give_back", OTHER)


def test_when_the_registry_can_not_be_reached_nothing_is_received_and_what_serves_goes_on(regions: Regions) -> None:
    newer = regions.announced().version + 1
    with (regions.us.serving_unchanged(), regions.home_announces(version=newer, manifest_sha256="2" * 64),
          regions.us.aws.fault(service="sagemaker", operation="DescribeModelPackage", kind="error")):
        run = regions.receive()
    assert run.outcome == events.FAILED, run
    assert "CopyFiles" not in run.states
    assert regions.us.audit(run.name, events.FAILED)


def test_aws_would_allow_every_recorded_call_of_the_receiving_region(regions: Regions) -> None:
    us, home = (iam_check.policies_of(deployed) for deployed in (regions.us, regions.jp))
    both = replace(us, resources={**home.resources, **us.resources})  # home's bucket and key have a say of their own
    answers = iam_check.simulate(iam_check.record_of(regions.us, both), both)
    assert {"FunctionsRoomReceivePlanRole", "FunctionsRoomReceiveCopyRole", "ReceiveMachineRole"} <= {
        us.roles[a.call.principal].id for a in answers if a.call.principal in us.roles}
    assert [f"{answer.result}: {answer.call}" for answer in answers if not answer.allowed] == []

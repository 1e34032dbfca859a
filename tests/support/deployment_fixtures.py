"""Fixtures of the tests that need the whole deployment; tests/conftest.py takes them in, so that there is one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from contracts import events
from contracts.kill_switches import promotion_flag
from tests.support.deployment import SLUG, Deployed, deployed
from tests.support.embedded import eventually


@pytest.fixture(scope="session")
def empty_jp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    """Deployed, with labels, never promoted."""
    with deployed(tmp_path_factory.mktemp("jp")) as found:
        yield found


@pytest.fixture(scope="session")
def promoted(empty_jp: Deployed) -> Deployed:
    """The first promotion, made once, with the contract's own hyperparameters."""
    run = empty_jp.run(name="first-promotion", brief=False, reason="first promotion")
    assert run.outcome == events.PROMOTED, run
    return empty_jp


@pytest.fixture
def jp(promoted: Deployed) -> Iterator[Deployed]:
    """A promoted deployment at rest; whatever a test leaves running is its failure."""
    # What an earlier test's traffic set off by itself (an alarm, a retrain) has its end before this one starts.
    eventually(lambda: promoted.left_behind() == [], within_s=180)
    promoted.aws.local("DELETE", "calls")
    yield promoted
    promoted.aws.local("DELETE", "faults")
    assert promoted.left_behind() == []


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A version that was published and signed but never promoted."""

    version: str
    bucket: str
    prefix: str


@pytest.fixture(scope="session")
def candidate(promoted: Deployed) -> Candidate:
    """Promotion goes off after its candidate was published; a release that had begun by then is undone."""
    jp = promoted
    flag = promotion_flag(SLUG).name
    with jp.serving_unchanged():
        arn = jp.start(reason="a candidate that is not promoted")
        jp.wait_for_state(arn, "PublishSignedCopy")
        with jp.flag(flag, False):
            run = jp.finish(arn)
    assert run.outcome == events.NOT_PROMOTED, run
    assert "MayRelease" in run.states
    assert "Promote" not in run.states
    version = jp.newest_package()
    assert jp.package_status(version) == "PendingManualApproval"
    return candidate_of(jp, version)


def candidate_of(jp: Deployed, version: str) -> Candidate:
    containers = jp.package(version)["InferenceSpecification"]["Containers"]
    bucket, prefix = containers[0]["ModelDataSource"]["S3DataSource"]["S3Uri"].removeprefix("s3://").split("/", 1)
    return Candidate(version=version, bucket=bucket, prefix=prefix)

"""Fixtures of the tests that need the whole deployment; tests/conftest.py takes them in, so that a process has one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from contracts import events
from tests.support import iam_check
from tests.support.deployment import Deployed, deployed


@pytest.fixture(scope="session")
def empty_jp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    """Deployed, with labels, never promoted. At its end AWS must have allowed what the tests made it do."""
    with deployed(tmp_path_factory.mktemp("jp")) as found:
        yield found
        denied = iam_check.denied(found)
        assert denied == [], "AWS would deny these calls that tests of this process brought about"


@pytest.fixture(scope="session")
def promoted(empty_jp: Deployed) -> Deployed:
    """The first promotion, made once, with the contract's own hyperparameters."""
    run = empty_jp.run(name="first-promotion", brief=False, reason="first promotion")
    assert run.outcome == events.PROMOTED, run
    return empty_jp


@pytest.fixture
def jp(promoted: Deployed) -> Iterator[Deployed]:
    """A promoted deployment at rest; whatever a test leaves running is its failure."""
    promoted.come_to_rest()
    promoted.forget_calls()
    yield promoted
    promoted.aws.local("DELETE", "faults")
    assert promoted.left_behind() == []

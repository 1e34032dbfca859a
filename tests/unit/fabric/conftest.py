"""A little AWS per test, one Valkey server per module, emptied before each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.inference import Aws, Valkey, little_aws


@pytest.fixture
def aws() -> Iterator[Aws]:
    with little_aws() as made:
        yield made


@pytest.fixture(scope="module")
def shared_valkey() -> Iterator[Valkey]:
    made = Valkey()
    yield made
    made.kill()


@pytest.fixture
def valkey(shared_valkey: Valkey) -> Valkey:
    shared_valkey.raw.flushall()
    return shared_valkey

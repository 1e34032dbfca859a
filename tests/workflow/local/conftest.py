from collections.abc import Iterator

import pytest

from tests.support.embedded import EmbeddedAws, embedded_aws


@pytest.fixture(scope="session")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedAws]:
    """One embedded AWS for the session, its clock sixty times faster."""
    with embedded_aws(tmp_path_factory.mktemp("aws")) as running:
        yield running

"""Options that pytest must know before it looks into the folders."""

from __future__ import annotations

import pytest

from tests.support.deployment_fixtures import empty_jp, jp, promoted  # noqa: F401  (one deployment for all folders)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-snapshots", action="store_true",
                     help="write tests/infrastructure/snapshots anew instead of comparing with them")

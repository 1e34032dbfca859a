"""Options that pytest must know before it looks into the folders."""

from __future__ import annotations

import pytest

from tests.support.deployment_fixtures import empty_jp, jp, promoted  # noqa: F401  (one deployment for all folders)

_DEPLOYMENT = {"jp", "empty_jp", "promoted"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """For `-n 2`: what shares a costly fixture of the session goes to one process, anything else file by file."""
    for item in items:
        item.add_marker(pytest.mark.xdist_group(_group(item)))


def _group(item: pytest.Item) -> str:
    if _DEPLOYMENT & set(getattr(item, "fixturenames", ())):
        return "deployment"
    folder = item.path.relative_to(item.config.rootpath).parent.as_posix()
    return item.path.name if folder.startswith("tests/unit") else folder


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-snapshots", action="store_true",
                     help="write tests/infrastructure/snapshots anew instead of comparing with them")

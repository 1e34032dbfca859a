"""Options that pytest must know before it looks into the folders, and what goes to which process of `-n 2`."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.deployment_fixtures import empty_jp, jp, promoted  # noqa: F401  (one deployment for all folders)

_DEPLOYMENT = "deployment"
_ITS_PLACES = ("tests/end_to_end/", "tests/workflow/retrain/", "tests/workflow/test_")


def _group(nodeid: str) -> str:
    """What shares a costly fixture of the session goes to one process, anything else folder by folder or, of the unit
    tests, file by file.
    """
    path = nodeid.partition("::")[0]
    if path.startswith(_ITS_PLACES):
        return _DEPLOYMENT
    return path if path.startswith("tests/unit/") else path.rpartition("/")[0]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    # xdist's own `loadgroup` groups nothing under pytest 9.2, silently: it hangs the group on an attribute that pytest
    # reads no more (pytest-dev/pytest-xdist#1386). The path is known to both processes without that.
    from xdist.scheduler import LoadScopeScheduling

    class ByGroup(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            return _group(nodeid)

    config.option.loadscopereorder = False  # the deployment's tests come first by name, and they take the longest
    return ByGroup(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    lost = sorted({item.nodeid.partition("::")[0] for item in items
                   if "empty_jp" in getattr(item, "fixturenames", ()) and _group(item.nodeid) != _DEPLOYMENT})
    if lost:
        raise pytest.UsageError(f"{', '.join(lost)}: with `-n 2` this would deploy a second time; tests of the "
                                f"deployment belong in {', '.join(_ITS_PLACES)}...")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-snapshots", action="store_true",
                     help="write tests/infrastructure/snapshots anew instead of comparing with them")

"""Options that pytest must know before it looks into the folders, and what goes to which process of `-n 2`."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.deployment_fixtures import empty_jp, jp, promoted  # noqa: F401  (for all folders)

# A costly fixture of the session that one process should make once: templates, an embedded AWS of small apps.
_ONE_PROCESS = ("tests/infrastructure", "tests/workflow/local", "tests/workflow/sagemaker", "tests/property")


def _group(nodeid: str) -> str:
    """What goes to one process as a whole: such a folder, or a file. Each process deploys for itself: a minute twice,
    where one process with all tests of the deployment worked on long after the other was done.
    """
    path = nodeid.partition("::")[0]
    folder = path.rpartition("/")[0]
    return folder if folder in _ONE_PROCESS else path


def _rank(nodeid: str) -> int:
    """The long groups first; the unit tests' short files are left for whoever is done first."""
    group = _group(nodeid)
    return 0 if group in _ONE_PROCESS else 2 if group.startswith("tests/unit/") else 1


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    # xdist's own `loadgroup` groups nothing under pytest 9.2, silently: it hangs the group on an attribute that pytest
    # reads no more (pytest-dev/pytest-xdist#1386). The path is known to both processes without that.
    from xdist.scheduler import LoadScopeScheduling

    class ByGroup(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            return _group(nodeid)

    config.option.loadscopereorder = False  # the order of `_rank`, not of how many tests a group has
    return ByGroup(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: _rank(item.nodeid))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-snapshots", action="store_true",
                     help="write tests/infrastructure/snapshots anew instead of comparing with them")

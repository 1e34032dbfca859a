"""Writes the table of what the embedded AWS supports, from the self-tests that prove it.

`python -m local.surface` runs the tests that carry `@pytest.mark.surface("...")` and writes docs/local-surface.md;
a row is there only when every test that names it has passed, so the table cannot promise more than it holds.
"""

from __future__ import annotations

import collections
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TESTS = ("tests/workflow/local", "tests/workflow/sagemaker")
TARGET = ROOT / "docs" / "local-surface.md"


class Collector:
    """A pytest plugin: which tests name which surface, and which of them did not pass."""

    def __init__(self) -> None:
        self.proofs: dict[str, set[str]] = collections.defaultdict(set)
        self.unproved: set[str] = set()

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            for marker in item.iter_markers("surface"):
                self.proofs[str(marker.args[0])].add(item.nodeid.partition("[")[0])

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if not report.passed:  # a skipped test proves nothing either
            self.unproved.add(report.nodeid.partition("[")[0])


def table(proofs: dict[str, set[str]], unproved: set[str]) -> str:
    lines = [
        "# What the embedded AWS supports",
        "",
        "Made by `python -m local.surface` from the self-tests; do not edit. What is not in this table may work as",
        "ministack has it, or be refused; it is not promised.",
        "",
        "| surface | proved by |",
        "|---|---|",
    ]
    for name in sorted(proofs, key=str.lower):
        if proofs[name] & unproved:
            continue
        tests = "<br>".join(sorted(_sentence(test) for test in proofs[name]))
        lines.append(f"| {name.replace('|', '/')} | {tests} |")
    return "\n".join(lines) + "\n"


def _sentence(test: str) -> str:
    return test.rpartition("::")[2].removeprefix("test_").replace("_", " ")


def main() -> int:
    collector = Collector()
    folders = [str(ROOT / folder) for folder in TESTS if (ROOT / folder).exists()]
    code = pytest.main(["-q", "--rootdir", str(ROOT), *folders], plugins=[collector])
    if code not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        return int(code)
    TARGET.write_text(table(collector.proofs, collector.unproved), encoding="utf-8")
    print(f"wrote {TARGET} ({len(collector.proofs)} surfaces, {len(collector.unproved)} tests did not pass)")
    return int(code)


if __name__ == "__main__":
    sys.exit(main())

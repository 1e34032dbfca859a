"""Who may import whom, read from the source: the house stands as it was drawn."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]

# Room -> the rooms it may import besides itself. `constructs` is the import root of `mlplatform`.
MAY_IMPORT: dict[str, frozenset[str]] = {
    "contracts": frozenset(),
    "constructs": frozenset({"mlplatform", "contracts"}),
    "stacks": frozenset({"mlplatform", "contracts"}),
    "app.py": frozenset({"stacks"}),
    "lambdas": frozenset({"contracts"}),
    "model_code": frozenset({"contracts"}),
    "fabric": frozenset({"contracts"}),
    "data": frozenset({"contracts"}),
    "cli": frozenset({"contracts", "fabric"}),
    "demo": frozenset({"cli", "data", "fabric", "contracts"}),
    "local": frozenset(),
}
ROOMS = frozenset(MAY_IMPORT) - {"app.py", "constructs"} | {"mlplatform", "app", "tests", "benchmarks"}


class Import(NamedTuple):
    where: str  # file:line
    module: str
    at_top: bool  # runs when the module is imported


def sources(*parts: str) -> list[Path]:
    path = ROOT.joinpath(*parts)
    return [path] if path.suffix == ".py" else sorted(path.rglob("*.py"))


def imports(path: Path) -> Iterator[Import]:
    tree = ast.parse(path.read_text("utf-8"))
    inside = {id(n) for f in ast.walk(tree) if isinstance(f, ast.FunctionDef | ast.AsyncFunctionDef)
              for n in ast.walk(f)}
    package = ".".join(path.relative_to(ROOT).with_suffix("").parts[:-1])
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            parent = ".".join(package.split(".")[:len(package.split(".")) - node.level + 1])
            base = f"{parent}.{node.module or ''}".strip(".") if node.level else str(node.module)
            # `from lambdas import shared` imports lambdas.shared
            modules = [base, *(f"{base}.{alias.name}" for alias in node.names)]
        else:
            continue
        for module in modules:
            yield Import(f"{path.relative_to(ROOT)}:{node.lineno}", module, id(node) not in inside)


def found_in(*parts: str) -> list[Import]:
    files = sources(*parts)
    assert files, f"no source below {'/'.join(parts)}: the rule would hold for nothing"
    return [found for path in files for found in imports(path)]


def top(module: str) -> str:
    return module.split(".")[0]


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_a_room_imports_only_the_rooms_it_may(room: str) -> None:
    allowed = MAY_IMPORT[room] | {room}
    strays = sorted({f"{i.where} imports {top(i.module)}" for i in found_in(room)
                     if top(i.module) in ROOMS and top(i.module) not in allowed})
    assert not strays


def test_every_room_has_a_rule() -> None:
    rooms = {p.parent.name for p in ROOT.glob("[!.]*/__init__.py")}
    assert {"contracts", "lambdas", "local"} <= rooms
    assert rooms - set(MAY_IMPORT) - {"benchmarks", "tests"} == set()


def test_contracts_need_the_standard_library_only() -> None:
    strays = sorted({f"{i.where} imports {i.module}" for i in found_in("contracts")
                     if top(i.module) not in sys.stdlib_module_names | {"contracts"}})
    assert not strays


def test_a_function_imports_its_own_folder_and_what_is_staged_beside_it() -> None:
    folders = sorted({p.parent.name for p in ROOT.glob("lambdas/*/handler.py")})
    assert len(folders) >= 10
    for folder in [*folders, "shared"]:
        strays = sorted({f"{i.where} imports {i.module}" for i in found_in("lambdas", folder)
                         if i.module.startswith("lambdas.") and i.module.split(".")[1] not in (folder, "shared")})
        assert not strays


def test_functions_import_boto3_at_first_use() -> None:
    strays = sorted({i.where for i in found_in("lambdas")
                     if top(i.module) in ("boto3", "botocore", "aws_xray_sdk") and i.at_top})
    assert not strays


def test_a_functions_logic_knows_no_aws() -> None:
    files = sorted(ROOT.glob("lambdas/*/logic.py"))
    assert len(files) >= 8
    strays = sorted({f"{i.where} imports {i.module}" for path in files for i in imports(path)
                     if top(i.module) in ("boto3", "botocore", "aws_lambda_powertools")})
    assert not strays


def test_the_cdk_apps_import_root_is_no_package() -> None:
    """A package called `constructs` would hide the one of the CDK."""
    assert (ROOT / "constructs" / "mlplatform" / "__init__.py").exists()
    assert not (ROOT / "constructs" / "__init__.py").exists()


def test_the_rule_reader_sees_each_kind_of_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    source = tmp_path / "room" / "deep" / "file.py"
    source.parent.mkdir(parents=True)
    lines = ["import a.b", "from c import d", "from . import e", "from ..f import g", "def h():", "    import i"]
    source.write_text("\n".join(lines), "utf-8")
    found = {(i.module, i.at_top) for i in imports(source)}
    assert {("a.b", True), ("c.d", True), ("room.deep.e", True), ("room.f.g", True), ("i", False)} <= found

"""Lambda functions: what the contract says is what the template grants and sets."""

from __future__ import annotations

import json
import os
import re
import typing
import zipfile
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from contracts.functions import FUNCTIONS, RECEIVE_COPY, RECEIVE_PLAN, FunctionContract
from tests.infrastructure.conftest import ROOT, Assembly

# Every function may write its log and traces and read its own environment.
OWN = {"logs:CreateLogStream", "logs:PutLogEvents", "xray:PutTraceSegments", "xray:PutTelemetryRecords", "kms:Decrypt"}
DATA_KEY = {"kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey", "kms:DescribeKey"}


def _where(contract: FunctionContract) -> str:
    return "us" if contract.only_at == "receiving" else "jp"


def _function(assembly: Assembly, contract: FunctionContract) -> dict[str, Any]:
    found = [f for f in assembly.resources("AWS::Lambda::Function", deployment=_where(contract)).values()
             if f["Properties"]["Handler"] == contract.handler]
    assert len(found) == 1, contract.name
    return found[0]


def _role(assembly: Assembly, contract: FunctionContract) -> dict[str, Any]:
    role = _function(assembly, contract)["Properties"]["Role"]["Fn::GetAtt"][0]
    return assembly.all_resources(deployment=_where(contract))[role]


@pytest.mark.parametrize("contract", FUNCTIONS.values(), ids=lambda c: c.name)
def test_a_role_grants_exactly_what_the_contract_lists(assembly: Assembly, contract: FunctionContract) -> None:
    granted: set[str] = set()
    for statement in _role(assembly, contract)["Properties"]["Policies"][0]["PolicyDocument"]["Statement"]:
        actions = statement["Action"]
        granted |= {actions} if isinstance(actions, str) else set(actions)
    extra = {"sqs:SendMessage"} if contract.asynchronous else set()
    # a multipart upload that fails is cleared away; the key's Encrypt comes with its GenerateDataKey
    implied = {"s3:AbortMultipartUpload"} | DATA_KEY
    assert set(contract.actions) <= granted
    assert granted - set(contract.actions) - OWN - extra - implied == set()


@pytest.mark.parametrize("contract", FUNCTIONS.values(), ids=lambda c: c.name)
def test_the_environment_has_every_field_of_its_class(assembly: Assembly, contract: FunctionContract) -> None:
    properties = _function(assembly, contract)["Properties"]
    variables = properties.get("Environment", {"Variables": {}})["Variables"]
    # Powertools would make it a dimension of every metric, and no alarm would match.
    assert "POWERTOOLS_SERVICE_NAME" not in variables
    assert set(variables) == {field.name for field in fields(contract.environment)}
    hints = typing.get_type_hints(contract.environment)
    for field in fields(contract.environment):
        if hints[field.name] is int:
            int(variables[field.name])


@pytest.mark.parametrize("contract", FUNCTIONS.values(), ids=lambda c: c.name)
def test_a_function_is_traced_encrypted_limited_and_logs_to_its_own_group(
        assembly: Assembly, contract: FunctionContract) -> None:
    p = _function(assembly, contract)["Properties"]
    assert p["Runtime"] == "python3.13"
    assert p["TracingConfig"] == {"Mode": "Active"}
    assert p["KmsKeyArn"]
    assert (p["Timeout"], p["MemorySize"]) == (contract.timeout_s, contract.memory_mb)
    assert p["LoggingConfig"]["LogGroup"]
    assert ("DeadLetterConfig" in p) == contract.asynchronous


def test_every_function_folder_is_deployed() -> None:
    folders = {p.parent.name for p in (ROOT / "lambdas").glob("*/handler.py")}
    assert folders == set(FUNCTIONS)


def test_no_two_functions_share_a_role(assembly: Assembly) -> None:
    for deployment, elsewhere in (("jp", "receiving"), ("us", "home")):
        functions = assembly.resources("AWS::Lambda::Function", deployment=deployment).values()
        roles = [str(f["Properties"]["Role"]) for f in functions]
        assert len(roles) == len(set(roles)) == len([f for f in FUNCTIONS.values() if f.only_at != elsewhere])


def test_the_copier_reads_published_models_of_home_and_stays_outside_the_vpc(assembly: Assembly) -> None:
    """S3's VPC endpoint refuses another region; and nothing else of home may be in reach."""
    for contract in (RECEIVE_PLAN, RECEIVE_COPY):
        assert "VpcConfig" not in _function(assembly, contract)["Properties"]
        text = json.dumps(_role(assembly, contract)["Properties"]["Policies"])
        named = set(re.findall(r"mangaassist-[a-z]+-jp-[^\"]*", text))
        assert named == {"mangaassist-artifacts-jp-${AWS::AccountId}",
                         "mangaassist-artifacts-jp-${AWS::AccountId}/models/intent-classifier/*"}


def test_a_pin_of_home_s_key_that_is_none_stops_synth() -> None:
    from aws_cdk import App, Stack
    from mlplatform.receive_workflow import UNSET, home_key_sha256

    assert home_key_sha256(Stack(App(), "Unset")) == UNSET
    pinned = Stack(App(context={"home_key_sha256": "a" * 64}), "Pinned")
    assert home_key_sha256(pinned) == "a" * 64
    with pytest.raises(ValueError, match=r"64 hex digits.*got 'AB'"):
        home_key_sha256(Stack(App(context={"home_key_sha256": "AB"}), "Wrong"))


def test_a_package_holds_its_function_its_shared_code_and_the_contracts(tmp_path: Path) -> None:
    from aws_cdk import App, Stack
    from mlplatform.staging import source_asset

    app = App(outdir=str(tmp_path))
    asset = source_asset(Stack(app, "Any"), "Code", ["contracts", "lambdas/shared", "lambdas/lease"])
    with zipfile.ZipFile(tmp_path / f"asset.{asset.asset_hash}.zip") as archive:
        assert archive.read("lambdas/lease/handler.py") == (ROOT / "lambdas/lease/handler.py").read_bytes()
        names = {Path(name) for name in archive.namelist()}
    assert {name.parts[0] for name in names} == {"contracts", "lambdas"}
    assert {name.parts[1] for name in names if name.parts[0] == "lambdas"} == {"__init__.py", "lease", "shared"}
    assert not {name for name in names if name.suffix == ".pyc"}


def test_the_same_files_give_the_same_archive_whenever_they_were_written(tmp_path: Path) -> None:
    from mlplatform.staging import write_archive

    source = tmp_path / "source"
    source.mkdir()
    file = source / "handler.py"
    file.write_text("x = 1\n")
    write_archive(tmp_path / "a.zip", source, [file])
    os.utime(file, (0, 0))
    write_archive(tmp_path / "b.zip", source, [file])
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    assert [p.name for p in tmp_path.glob(".part-*")] == []


def test_a_missing_layer_says_what_to_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from aws_cdk import App, Stack
    from mlplatform import platform_function

    # relative_to(ROOT) must hold, so the absent folder lies below the root
    monkeypatch.setattr(platform_function, "_LAYER", ROOT / "build" / "no_such_layer")
    stack = Stack(App(outdir=str(tmp_path)), "Any")
    with pytest.raises(FileNotFoundError, match="no_such_layer/python is missing: run `make setup`"):
        platform_function._layer_asset(stack)


def test_an_unknown_source_folder_is_named() -> None:
    from mlplatform.staging import content_hash

    with pytest.raises(ValueError, match="'no/such' does not exist"):
        content_hash(("no/such",))

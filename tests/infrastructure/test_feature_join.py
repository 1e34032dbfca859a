"""The join on Spark: at home only, nothing that costs while idle, and a job that reaches its own folders only."""

from __future__ import annotations

import ast
import json
import zipfile
from typing import Any

import pytest
from mlplatform import spark_join

from contracts import naming
from tests.infrastructure.conftest import ROOT, Assembly
from tests.infrastructure.definitions import machines

APPLICATION = "AWS::EMRServerless::Application"
JOB_FILES = (*spark_join.MODULES, "model_code/platform/join_features.py")


def application(assembly: Assembly) -> dict[str, Any]:
    [found] = assembly.resources(APPLICATION).values()
    return dict(found["Properties"])


def statements(assembly: Assembly, id_: str) -> list[dict[str, Any]]:
    [role] = [r for name, r in assembly.resources("AWS::IAM::Role").items() if name.startswith(id_)]
    return list(role["Properties"]["Policies"][0]["PolicyDocument"]["Statement"])


@pytest.mark.parametrize("deployment", ["us", "eu"])
def test_receiving_regions_join_nothing(assembly: Assembly, deployment: str) -> None:
    assert APPLICATION not in {r["Type"] for r in assembly.all_resources(deployment=deployment).values()}
    assert naming.feature_join_state_machine() not in machines(assembly, deployment)


def test_an_idle_application_costs_nothing_and_a_busy_one_has_a_bound(assembly: Assembly) -> None:
    found = application(assembly)
    assert "InitialCapacity" not in found
    assert found["AutoStartConfiguration"] == {"Enabled": True}
    assert found["AutoStopConfiguration"]["Enabled"] is True
    assert found["AutoStopConfiguration"]["IdleTimeoutMinutes"] <= 15
    assert found["MaximumCapacity"].keys() == {"Cpu", "Memory", "Disk"}
    start = machines(assembly)[naming.feature_join_state_machine()]["States"]["StartJoin"]["Parameters"]
    assert 0 < start["ExecutionTimeoutMinutes"] <= 240


def test_it_sits_in_the_isolated_subnets_and_logs_under_the_deployment_s_key(assembly: Assembly) -> None:
    found = application(assembly)
    assert len(found["NetworkConfiguration"]["SubnetIds"]) == 2
    assert len(found["NetworkConfiguration"]["SecurityGroupIds"]) == 1
    logs = found["MonitoringConfiguration"]
    assert logs["ManagedPersistenceMonitoringConfiguration"] == {"Enabled": False}
    group = assembly.all_resources()[logs["CloudWatchLoggingConfiguration"]["LogGroupName"]["Ref"]]
    assert group["Properties"]["KmsKeyId"] == logs["S3MonitoringConfiguration"]["EncryptionKeyArn"]


def test_the_job_reaches_joins_and_its_own_code_and_the_machine_this_application(assembly: Assembly) -> None:
    job = statements(assembly, "FeatureJoinJobRole")
    objects = [json.dumps(s["Resource"]) for s in job if any(a.startswith("s3:") for a in s["Action"])]
    code, *folders = objects
    assert (code.count(".py"), code.count(".zip"), "*" in code) == (1, 1, False)
    assert [text.count("/joins*") + text.count("/runs/feature-join/*") for text in folders if "*" in text] == [1] * 3
    assert [s["Condition"] for s in job if s["Action"] == ["s3:ListBucket"]] == [
        {"StringLikeIfExists": {"s3:prefix": "joins*"}}]
    runs = [s for s in statements(assembly, "FeatureJoinMachineRole") if "emr-serverless" in s["Action"][0]]
    assert {action for s in runs for action in s["Action"]} == {
        f"emr-serverless:{call}" for call in ("StartJobRun", "GetJobRun", "CancelJobRun")}
    assert all("FeatureJoinApplication" in json.dumps(s["Resource"]) for s in runs)


def test_a_start_says_by_its_token_which_execution_it_belongs_to(assembly: Assembly) -> None:
    start = machines(assembly)[naming.feature_join_state_machine()]["States"]["StartJoin"]["Parameters"]
    assert start["ClientToken.$"] == "States.Hash($$.Execution.Id, 'SHA-1')"
    arguments = start["JobDriver"]["SparkSubmit"]["EntryPointArguments.$"]
    for folder in ("labels", "features", "output"):
        assert f"/joins/{{}}/{{}}/', $.story, $.{folder})" in arguments


def test_the_archive_holds_what_the_job_imports_and_nothing_else(assembly: Assembly) -> None:
    """Of ours: pyspark and the standard library are EMR's."""
    archives = [set(zipfile.ZipFile(path).namelist()) for path in assembly.folder.rglob("*.zip")]
    assert set(spark_join.MODULES) in archives
    for file in JOB_FILES:
        for node in ast.walk(ast.parse((ROOT / file).read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("model_code"):
                assert f"{str(node.module).replace('.', '/')}.py" in spark_join.MODULES, file


def test_the_job_s_files_are_python_3_9(assembly: Assembly) -> None:
    """Syntax by the parser; of what 3.10 added to the library, the parts that this house uses."""
    for file in JOB_FILES:
        text = (ROOT / file).read_text("utf-8")
        tree = ast.parse(text, feature_version=(3, 9))
        assert not [n for n in ast.walk(tree) if isinstance(n, ast.keyword) and n.arg in ("kw_only", "slots", "strict")]
        calls = [n for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)]
        unions = [n for n in calls if n.func.id in ("isinstance", "issubclass")  # type: ignore[attr-defined]
                  and any(isinstance(a, ast.BinOp) for a in ast.walk(n))]
        assert not unions, file
        assert "from datetime import UTC" not in text

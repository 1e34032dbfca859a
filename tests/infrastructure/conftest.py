"""One synth per run: all deployments, bundling off, both of cdk-nag's packs on beside our own."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION", "1")

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("data", "platform", "intent-classifier", "operations")
Template = dict[str, Any]
Resource = dict[str, Any]


@dataclass(frozen=True)
class Assembly:
    """What CDK wrote: `templates[deployment, room]`, their bytes, and what the rule packs found."""

    folder: Path
    templates: dict[tuple[str, str], Template]
    files: dict[tuple[str, str], Path]
    protected: dict[tuple[str, str], bool]
    findings: frozenset[tuple[str, str]]  # (finding, construct path)

    def resources(self, type_: str, *, deployment: str = "jp") -> dict[str, Resource]:
        """Logical id -> resource, over the deployment's stacks."""
        found = {
            id_: resource
            for (name, _), template in self.templates.items() if name == deployment
            for id_, resource in template["Resources"].items() if resource["Type"] == type_
        }
        assert found, f"no {type_} in deployment {deployment}"
        return found

    def all_resources(self, *, deployment: str = "jp") -> dict[str, Resource]:
        return {id_: r for (name, _), t in self.templates.items() if name == deployment
                for id_, r in t["Resources"].items()}


def context(**more: Any) -> dict[str, Any]:
    flags: dict[str, Any] = json.loads((ROOT / "cdk.json").read_text("utf-8"))["context"]
    return {**flags, "aws:cdk:bundling-stacks": [], **more}


@pytest.fixture(scope="session")
def assembly(tmp_path_factory: pytest.TempPathFactory) -> Assembly:
    from aws_cdk import App, Validations
    from cdk_nag import AwsSolutionsChecks, NIST80053R5Checks

    from stacks.deployment import deploy_all

    folder = tmp_path_factory.mktemp("cdk.out")
    app = App(context=context(), outdir=str(folder), analytics_reporting=False)
    stages = deploy_all(app)
    Validations.of(app).add_plugins(AwsSolutionsChecks(app), NIST80053R5Checks(app))
    # Findings raise here, after everything is written; test_rules.py judges them one by one.
    with pytest.raises(RuntimeError, match="ValidationFailed"):
        app.synth()
    files, protected = {}, {}
    for stage in stages:
        manifest = json.loads((folder / f"assembly-{stage.stage_name}" / "manifest.json").read_text("utf-8"))
        stacks = [a for a in manifest["artifacts"].values() if a["type"] == "aws:cloudformation:stack"]
        by_name = {a["properties"]["stackName"]: a["properties"] for a in stacks}
        for room in ROOMS:
            key = (stage.stage_name, room)
            properties = by_name[f"MangaAssist-{stage.stage_name}-{''.join(w.capitalize() for w in room.split('-'))}"]
            files[key] = folder / f"assembly-{stage.stage_name}" / properties["templateFile"]
            protected[key] = properties.get("terminationProtection", False)
    templates = {key: json.loads(path.read_text("utf-8")) for key, path in files.items()}
    return Assembly(folder, templates, files, protected, _findings(folder))


def _findings(folder: Path) -> frozenset[tuple[str, str]]:
    reports = json.loads((folder / "validation-report.json").read_text("utf-8"))["pluginReports"]
    return frozenset(
        (violation["ruleName"], construct["constructPath"])
        for report in reports for violation in report["violations"] for construct in violation["violatingConstructs"]
    )

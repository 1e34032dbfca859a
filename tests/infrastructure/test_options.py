"""What the app's context changes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from aws_cdk import App

from stacks.deployment import deploy_all
from tests.infrastructure.conftest import Assembly, context


def _synth(folder: Path, **options: Any) -> dict[str, dict[str, Any]]:
    app = App(context=context(deployment="jp", **options), outdir=str(folder), analytics_reporting=False)
    deploy_all(app)
    app.synth()
    return {id_: r for path in sorted((folder / "assembly-jp").glob("*.template.json"))
            for id_, r in json.loads(path.read_text("utf-8"))["Resources"].items()}


def _endpoints(resources: dict[str, dict[str, Any]]) -> list[str]:
    return [r["Properties"]["VpcEndpointType"] for r in resources.values() if r["Type"] == "AWS::EC2::VPCEndpoint"]


def _label_jobs(resources: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    found = []
    for resource in resources.values():
        if resource["Type"] == "AWS::StepFunctions::StateMachine":
            states = json.loads(resource["Properties"]["DefinitionString"])["States"]
            found += [s["Parameters"] for s in states.values() if s.get("Resource", "").endswith("createProcessingJob")]
    assert len(found) == 4  # freeze, ingest, settle, expire
    return found


def test_small_network_by_default_with_label_jobs_outside(assembly: Assembly) -> None:
    resources = assembly.all_resources()
    assert _endpoints(resources) == ["Gateway", "Gateway"]
    assert all("VpcConfig" not in job["NetworkConfig"] for job in _label_jobs(resources))


def test_full_private_brings_interface_endpoints_and_label_jobs_inside(tmp_path: Path) -> None:
    resources = _synth(tmp_path, full_private="true")
    assert sorted(set(_endpoints(resources))) == ["Gateway", "Interface"]
    for job in _label_jobs(resources):
        assert len(job["NetworkConfig"]["VpcConfig"]["Subnets"]) == 2


def test_an_unknown_deployment_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="unknown deployment 'mars': allowed are jp, us, eu"):
        deploy_all(App(context=context(deployment="mars")))


def test_tags_that_are_no_object_are_refused() -> None:
    with pytest.raises(ValueError, match="context `tags` must be an object"):
        deploy_all(App(context=context(tags="[1]")))

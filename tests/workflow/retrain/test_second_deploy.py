"""A deploy never moves what was promoted and never resets a flag."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cli import flags
from contracts import naming
from contracts.kill_switches import promotion_flag
from local.deploy import deploy
from tests.support.deployment import SLUG, Deployed, synthesise

pytestmark = pytest.mark.workflow


def test_a_deploy_with_another_tag_and_threshold_leaves_pointer_endpoint_and_flags(
        jp: Deployed, tmp_path: Path) -> None:
    assembly = synthesise(tmp_path / "cdk.out", tags={"release": "second"})
    alarm, threshold = raise_a_threshold(assembly)
    runs, spec = jp.runs(), spec_version(jp)
    with jp.flag(promotion_flag(SLUG).name, False), jp.serving_unchanged():
        before = flags.read(jp.target)
        results = deploy(assembly, endpoint_url=jp.aws.endpoint_url, region=jp.aws.region)
        assert flags.read(jp.target) == before
    assert {result.status for result in results} == {"UPDATE_COMPLETE"}, "the tag changed every stack"
    found = jp.aws.client("cloudwatch").describe_alarms(AlarmNames=[alarm])["MetricAlarms"]
    assert [a["Threshold"] for a in found] == [threshold]
    assert spec_version(jp) == spec, "the same spec written again is a change event, which starts a run"
    assert jp.runs() == runs, "an unchanged serving spec started a run"


def spec_version(jp: Deployed) -> int:
    """It counts every write of the parameter, also of the same value."""
    name = naming.serving_spec_parameter(SLUG)
    return int(jp.aws.client("ssm").get_parameter(Name=name)["Parameter"]["Version"])


def raise_a_threshold(assembly: Path) -> tuple[str, float]:
    """Change one guardrail alarm in the templates; its name and new threshold."""
    wanted = naming.guardrail_alarm(SLUG, "latency")
    for path in assembly.glob("*.template.json"):
        template = json.loads(path.read_text("utf-8"))
        for resource in template["Resources"].values():
            if resource.get("Properties", {}).get("AlarmName") == wanted:
                resource["Properties"]["Threshold"] += 1
                path.write_text(json.dumps(template), "utf-8")
                return wanted, float(resource["Properties"]["Threshold"])
    raise AssertionError(f"no template in {assembly} has alarm {wanted}")

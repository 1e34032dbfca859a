"""Back to the previous version, a deploy that moves nothing, an answer that is lost."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

from cli import flags
from contracts import events, naming
from demo.stage import BRIEF, Stage, expect, expect_outcome
from demo.world import synthesise

ROLLBACK_LIMIT_S = 60.0


def rollback(stage: Stage) -> str:
    ensure_previous(stage)
    before = stage.pointer()
    started = time.monotonic()
    run = stage.retrain(mode="rollback", reason="demo: the new version misbehaves")
    seconds = time.monotonic() - started
    expect_outcome(run, events.ROLLED_BACK)
    after = stage.pointer()
    expect(
        after["version"] == before["previous"]["version"],
        f"the pointer is at {after['version']}, wanted {before['previous']['version']}",
    )
    expect(
        stage.served_version() == str(after["version"]),
        "the endpoint does not answer as the pointer's version",
    )
    expect(seconds <= ROLLBACK_LIMIT_S, f"it took {seconds:.0f} s")
    stage.timings["rollback"] = seconds
    return (
        f"version {before['version']} -> {after['version']} in {seconds:.1f} s. That is the control "
        "path only, with "
        "shortened waits: in production the 60 s hold while the previous fleet is still warm (the "
        "bake and the hour after)"
    )


def ensure_previous(stage: Stage) -> None:
    """A drift run may have been rejected; then nothing was promoted since the first time."""
    if not stage.pointer().get("previous"):
        expect_outcome(
            stage.retrain(reason="a second version to go back from", hyperparameters=BRIEF), events.PROMOTED
        )


def deploy_keeps_promotion(stage: Stage) -> str:
    flag = naming.promotion_flag(stage.slug)
    stage.say("synthesising with another tag")
    assembly = synthesise(
        stage.world.folder / "cdk.out.second",
        deployment=stage.target.deployment,
        context={"tags": {"release": "second"}},
    )
    alarm, threshold = raise_a_threshold(assembly)
    with stage.unchanged(), stage.flag(flag, False, story=stage.slug, reason="demo: must survive a deploy"):
        before, spec = (stage.pointer(), flags.read(stage.target)), spec_version(stage)
        stage.say("deploying again")
        stage.world.deploy(assembly)
        after = (stage.pointer(), flags.read(stage.target))
        expect(before == after, f"pointer and flags were {before}, now they are {after}")
        expect(
            spec_version(stage) == spec,
            "the deploy wrote the serving spec, which starts a reconcile: were contracts, model_code or containers "
            "edited since the demo began? They are in the serving image, and its digest is in the spec",
        )
    found = stage.target.client("cloudwatch").describe_alarms(AlarmNames=[alarm])["MetricAlarms"]
    expect(
        bool(found) and float(found[0]["Threshold"]) == threshold,
        f"the deploy did not change the threshold of {alarm}",
    )
    shutil.rmtree(stage.world.folder / "cdk.out.second")
    return (
        f"a deploy with another tag and {alarm} at {threshold:g} left version {stage.pointer()['version']}, "
        f"the endpoint and all {len(after[1])} flags as they were, one of them off by hand; the serving spec was not "
        "written, so nothing was reconciled"
    )


def spec_version(stage: Stage) -> int:
    """Counts the writes of the serving spec: each is a change event, also one of the same value."""
    name = naming.serving_spec_parameter(stage.slug)
    return int(stage.target.client("ssm").get_parameter(Name=name)["Parameter"]["Version"])


def raise_a_threshold(assembly: Path) -> tuple[str, float]:
    """Change the threshold of one guardrail alarm in the synthesised template; its name and new threshold."""
    for path in sorted(assembly.glob("*.template.json")):
        template = json.loads(path.read_text("utf-8"))
        for resource in template["Resources"].values():
            properties = resource.get("Properties", {})
            name = properties.get("AlarmName")
            if resource["Type"] == "AWS::CloudWatch::Alarm" and isinstance(name, str) and "guardrail" in name:
                properties["Threshold"] = float(properties["Threshold"]) + 1
                path.write_text(json.dumps(template, indent=1), "utf-8")
                return name, properties["Threshold"]
    raise LookupError(f"no guardrail alarm in the templates of {assembly}")


def answer_lost(stage: Stage) -> str:
    stage.settle()
    before = stage.endpoint().config
    with stage.world.fault(service="sagemaker", operation="UpdateEndpoint", kind="lose_answer", times=1):
        run = stage.retrain(reason="the answer of UpdateEndpoint gets lost", hyperparameters=BRIEF)
        lost = [
            c for c in stage.world.calls() if c["operation"] == "UpdateEndpoint" and int(c["status"]) >= 500
        ]
    expect(bool(lost), "no answer was lost: the fault did nothing")
    expect_outcome(run, events.PROMOTED)
    endpoint, pointer = stage.endpoint(), stage.pointer()
    expect(endpoint.config != before, "the endpoint never moved")
    expect(stage.served_version() == str(pointer["version"]), "pointer and endpoint disagree")
    return (
        "the update happened, its answer was a 500; the retry looked first and went on: pointer "
        "and endpoint both "
        f"say version {pointer['version']}"
    )

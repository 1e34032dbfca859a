"""All stacks of the deployment, unchanged, into the embedded AWS."""

from __future__ import annotations

import time

from contracts import naming
from demo.stage import Stage, expect

ROOMS = ("data", "platform", "intent-classifier", "operations")


def deploy(stage: Stage) -> str:
    started = time.monotonic()
    stage.say("deploying four stacks")
    stage.world.deploy(stage.assembly)
    stage.timings["deploy"] = time.monotonic() - started
    cloudformation = stage.target.client("cloudformation")
    wanted = {naming.stack(stage.target.deployment.name, room) for room in ROOMS}
    found = {s["StackName"]: s["StackStatus"] for s in cloudformation.describe_stacks()["Stacks"]}
    expect(wanted <= found.keys(), f"stacks {sorted(wanted - found.keys())} are missing")
    bad = {name: found[name] for name in wanted if not found[name].endswith("_COMPLETE")}
    expect(not bad, f"stacks did not complete: {bad}")
    resources = sum(
        len(page["StackResourceSummaries"])
        for name in wanted
        for page in cloudformation.get_paginator("list_stack_resources").paginate(StackName=name)
    )
    return (
        f"{len(wanted)} stacks, {resources} resources from the templates that AWS gets, "
        f"in {stage.timings['deploy']:.1f} s; an unsupported type would have been an error"
    )

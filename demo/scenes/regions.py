"""The us deployment takes the version that jp serves. Each region is an embedded AWS of its own."""

from __future__ import annotations

import shutil
from pathlib import Path

from cli import executions, status, traffic
from cli.executions import Finished
from cli.target import Target
from contracts import events, naming
from contracts.announcements import key_digest
from contracts.deployments import US
from demo.scenes.artifacts import flipped
from demo.stage import Stage, expect
from demo.world import embedded_aws, synthesise

RECEIVE_TIMEOUT_S = 120.0


def region_receives_signed_copy(stage: Stage) -> str:
    stage.settle()
    folder, home = stage.world.folder / US.name, stage.world
    stage.say("synthesising us, which is told the key that it may believe")
    assembly = synthesise(folder / "cdk.out", deployment=US, context={"home_key_sha256": pin(stage)})
    stage.say("starting a second embedded AWS, whose peer is jp's")
    peers = {home.deployment.region: home.endpoint_url}
    try:
        with embedded_aws(folder, deployment=US, clock_factor=home.clock_factor, peers=peers) as world:
            stage.say("deploying us")
            world.deploy(assembly)
            us = Target.of(US.name, world.endpoint_url)
            # Its hour is 15 s on the demo's clock: the scene says when us looks, and finds the lease free.
            us.client("scheduler").delete_schedule(Name=naming.receive_schedule(stage.slug))
            return receive(stage, us)
    finally:
        shutil.rmtree(Path(folder), ignore_errors=True)


def receive(stage: Stage, us: Target) -> str:
    home = stage.pointer()
    bucket, prefix = home["model_uri"].removeprefix("s3://").split("/", 1)
    with flipped(stage.target.client("s3"), bucket, prefix + naming.DRIFT_REFERENCE_FILE):
        refused = run(stage, us, "a byte of jp's copy is flipped")
    expect(refused.outcome == events.REFUSED, f"a tampered copy ended as {refused.outcome}: {refused.error[:300]}")
    expect(naming.DRIFT_REFERENCE_FILE in refused.why, f"the refusal names no file: {refused.why!r}")
    expect(status.pointer(us, stage.slug) is None, "us promoted a tampered copy")
    received = run(stage, us, "what jp serves")
    expect(received.outcome == events.RECEIVED, f"{received.name} ended as {received.outcome}: {received.error[:300]}; "
           f"last states: {' > '.join(received.states[-4:])}")
    pointer = status.pointer(us, stage.slug)
    expect(pointer is not None and pointer["manifest_sha256"] == home["manifest_sha256"], "us serves something else")
    text = stage.material.golden[0].text
    answer = traffic.ask(us, stage.slug, text, cohort=None, daypart=None)
    expect(answer["intent"] == stage.ask(text)["intent"], "us and jp answer the same question differently")
    again = run(stage, us, "once more")
    expect(again.outcome == events.UP_TO_DATE, f"the second time ended as {again.outcome}")
    return (
        f"with a flipped byte {refused.outcome}, nothing promoted; {received.outcome} in {received.seconds:.1f} s: "
        f"jp's version {home['version']} ({home['manifest_sha256'][:12]}) is us's version {answer['model_version']}, "
        f"signed by us's own key and released by its own canary; the next look ended as {again.outcome}"
    )


def run(stage: Stage, us: Target, reason: str) -> Finished:
    arn = executions.start_receive(us, stage.slug, reason=f"demo: {reason}")
    return executions.wait(us, arn, timeout_s=RECEIVE_TIMEOUT_S, on_state=lambda state: stage.say(f"us: {state}"))


def pin(stage: Stage) -> str:
    """What an operator reads off home's key once: the SHA-256 of its public half."""
    alias = f"alias/{naming.PROJECT}-{stage.target.deployment.name}-signing"
    return key_digest(stage.target.client("kms").get_public_key(KeyId=alias)["PublicKey"])

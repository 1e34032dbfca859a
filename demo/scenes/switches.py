"""The kill switches, and what happens when nobody can read them."""

from __future__ import annotations

import time

from cli import executions, flags
from contracts import events, metrics, naming, records
from contracts.kill_switches import GLOBAL_FREEZE
from demo.stage import BRIEF, RUN_TIMEOUT_S, Stage, expect, expect_outcome

ALARM_PATIENCE_S = 30.0


def freeze(stage: Stage) -> str:
    stage.say("freezing")
    runs = {e["name"] for e in executions.recent(stage.target, stage.slug, 100)}
    with (
        stage.unchanged(),
        stage.flag(GLOBAL_FREEZE.name, True, story=records.PLATFORM, reason="demo incident"),
    ):
        run = stage.retrain(reason="must be ignored")
        expect_outcome(run, events.SKIPPED_FROZEN)
        raise_drift_alarm(stage)
        now = {e["name"] for e in executions.recent(stage.target, stage.slug, 100)}
        expect(
            now - runs == {run.name},
            f"the drift alarm started {sorted(now - runs - {run.name})} in spite of the freeze",
        )
    expect(flags.read(stage.target)[GLOBAL_FREEZE.name] == "false", "the freeze was not lifted")
    return (
        f"a retrain ended as {run.outcome}, a drift alarm was ignored, version "
        f"{stage.pointer()['version']} went on "
        "answering; both changes are in the audit trail; lifted again"
    )


def raise_drift_alarm(stage: Stage) -> None:
    """Trip the alarm and wait until the trigger function has heard of it and said no."""
    monitor = stage.story.monitors[0].name
    language = stage.material.golden[0].language
    alarm = naming.drift_alarm(stage.slug, monitor, language)
    cloudwatch = stage.target.client("cloudwatch")
    trigger = naming.function(stage.slug, "drift_trigger")
    before = len(ignored_alarms(stage, trigger))
    cloudwatch.set_alarm_state(AlarmName=alarm, StateValue="ALARM", StateReason="demo: tripped while frozen")
    try:
        deadline = time.monotonic() + ALARM_PATIENCE_S
        while len(ignored_alarms(stage, trigger)) <= before:
            expect(
                time.monotonic() < deadline,
                f"alarm {alarm} reached {trigger} not within {ALARM_PATIENCE_S:.0f} s",
            )
            stage.say("waiting for the drift trigger")
            time.sleep(0.3)
    finally:
        cloudwatch.set_alarm_state(AlarmName=alarm, StateValue="OK", StateReason="demo: over")


def ignored_alarms(stage: Stage, function: str) -> list[str]:
    """Log lines in which the trigger counted that it ignored an alarm."""
    logs = stage.target.client("logs")
    group = f"/aws/lambda/{function}"
    if not logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"]:
        return []
    pages = logs.get_paginator("filter_log_events").paginate(logGroupName=group)
    return [e["message"] for page in pages for e in page["events"] if metrics.DRIFT_IGNORED in e["message"]]


def promotion_disabled(stage: Stage) -> str:
    with (
        stage.unchanged(),
        stage.flag(naming.promotion_flag(stage.slug), False, story=stage.slug, reason="demo"),
    ):
        run = stage.retrain(reason="promotion is off", hyperparameters=BRIEF)
        expect_outcome(run, events.NOT_PROMOTED)
    verdict = stage.evidence(run.name, naming.VERDICT_FILE)
    expect(verdict["passed"], f"the candidate should have passed its gates, it failed {verdict['failed']}")
    return (
        f"the candidate was trained and passed its {len(verdict['gates'])} gates, and ended as "
        f"{run.outcome}; "
        f"version {stage.pointer()['version']} still serves"
    )


def ssm_unreachable(stage: Stage) -> str:
    with stage.unchanged(), stage.world.fault(service="ssm", operation="*", kind="error", times=None):
        run = stage.retrain(reason="the parameter store is down", hyperparameters=BRIEF)
        expect_outcome(run, events.NOT_PROMOTED)
    refused = [c for c in stage.world.calls() if c["service"] == "ssm" and int(c["status"]) >= 500]
    expect(bool(refused), "no call to the parameter store was refused: the fault did nothing")
    return (
        f"{len(refused)} reads of flags failed; no freeze (it trained), no promotion (it ended as "
        f"{run.outcome}), "
        f"version {stage.pointer()['version']} went on answering"
    )


def flag_flipped_midway(stage: Stage) -> str:
    flag = naming.promotion_flag(stage.slug)
    with stage.unchanged():
        arn = executions.start_retrain(
            stage.target, stage.slug, reason="flag flips while it trains", hyperparameters=BRIEF
        )
        for state in executions.watch(stage.target, arn, timeout_s=RUN_TIMEOUT_S):
            stage.say(f"flag_flipped_midway: {state}")
            if state == "WaitPipeline":
                break
        with stage.flag(flag, False, story=stage.slug, reason="demo: flipped midway"):
            run = stage.finish(arn)
            expect_outcome(run, events.NOT_PROMOTED)
    reads = sum(state.startswith("ReadSwitches") for state in run.states)
    return (
        f"{flag} went off while training ran; read {reads} times on the way, the run ended as {run.outcome}"
    )

"""A candidate that passed every gate and is worse in live traffic is aborted before it has all of it.

Its container gets too little CPU, as on a bad host: nothing that an evaluation could have seen. On the demo's clock the
latency guardrail's three minutes are less than a second, so it is muted here: what aborts is the canary's judge.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import cycle

from botocore.exceptions import BotoCoreError, ClientError

from cli import executions
from contracts import events, naming
from demo.stage import BRIEF, RUN_TIMEOUT_S, Stage, expect, expect_outcome

STARVED_S = 0.06  # each answer takes this much longer, or more; the story's slowest objective is 35 ms
CALLERS = 3
# Half of the traffic and 15 s on the demo's clock, so that a laptop answers often enough; the abort ends it early.
PATIENT = {"percent": 50, "bake_s": 3_600, "termination_wait_s": 0, "routing": "CANARY"}


def canary_aborts(stage: Stage) -> str:
    stage.settle()
    champion = str(stage.pointer()["version"])
    with (stage.unchanged(), guardrail_muted(stage, "latency"),
          stage.world.fault(service="container", kind="starve", times=1, seconds=STARVED_S)):
        arn = executions.start_retrain(
            stage.target, stage.slug, reason="its container will get too little CPU", hyperparameters=BRIEF)
        for state in executions.watch(stage.target, arn, timeout_s=RUN_TIMEOUT_S):
            if state == "WaitPipeline":
                break
        with patient_canary(stage):
            wait_until(lambda: stage.endpoint().status == "Updating" or ended(stage, arn), "the endpoint did not move")
            stage.say("live traffic while the canary bakes")
            with live_traffic(stage):
                run = stage.finish(arn)
        expect_outcome(run, events.CANARY_ABORTED)
    verdict = stage.evidence(run.name, naming.VERDICT_FILE)
    expect(verdict["passed"], f"the candidate should have passed its gates, it failed {verdict['failed']}")
    said = run.why
    expect(f"is worse than {champion} beside it: slow in " in said, f"the judge said {said!r}")
    expect(f"{run.name}#{events.CANARY_ABORTED}" in stage.audit_ids(), "the audit trail does not tell of the abort")
    expect("NotifyWorse" in run.states, "on-call was not told")
    return (f"it passed all {len(verdict['gates'])} gates; {said}. SageMaker sent it back, version {champion} serves "
            "as pointer and audit trail say, and on-call was told these numbers")


def ended(stage: Stage, arn: str) -> bool:
    return bool(stage.target.client("stepfunctions").describe_execution(executionArn=arn)["status"] != "RUNNING")


@contextmanager
def patient_canary(stage: Stage) -> Iterator[None]:
    """Another canary in the serving spec, and no shadow, which would find first what the canary is to find.

    The run that its change starts is skipped, for ours holds the lease.
    """
    ssm, name = stage.target.client("ssm"), naming.serving_spec_parameter(stage.slug)
    old = str(ssm.get_parameter(Name=name)["Parameter"]["Value"])

    def put(value: str) -> None:
        known = {found["name"] for found in executions.recent(stage.target, stage.slug, 100)}
        ssm.put_parameter(Name=name, Value=value, Type="String", Overwrite=True)
        wait_until(lambda: bool({found["name"] for found in executions.recent(stage.target, stage.slug, 100)} - known),
                   "a changed spec started no run")

    put(json.dumps({**json.loads(old), "canary": PATIENT, "shadow": None}, sort_keys=True, separators=(",", ":")))
    try:
        yield
    finally:
        put(old)
        stage.settle()


@contextmanager
def guardrail_muted(stage: Stage, name: str) -> Iterator[None]:
    cloudwatch, alarm = stage.target.client("cloudwatch"), naming.guardrail_alarm(stage.slug, name)
    found = cloudwatch.describe_alarms(AlarmNames=[alarm])["MetricAlarms"][0]
    members = cloudwatch.meta.service_model.operation_model("PutMetricAlarm").input_shape.members
    definition = {key: value for key, value in found.items() if key in members}
    cloudwatch.put_metric_alarm(**{**definition, "Threshold": 1e12})
    try:
        yield
    finally:
        cloudwatch.put_metric_alarm(**definition)


def wait_until(true: Callable[[], bool], otherwise: str) -> None:
    deadline = time.monotonic() + RUN_TIMEOUT_S
    while not true():
        expect(time.monotonic() < deadline, f"{otherwise} within {RUN_TIMEOUT_S:.0f} s")
        time.sleep(0.2)


@contextmanager
def live_traffic(stage: Stage) -> Iterator[None]:
    """Several callers at once, who ask golden texts one after the other while the block runs.

    Straight to the endpoint: captured, so much of the same would look like drift to the hub.
    """
    over = threading.Event()

    def ask(number: int) -> None:
        runtime = stage.target.client("sagemaker-runtime")
        for row in cycle(stage.material.golden[number:] + stage.material.golden[:number]):
            if over.is_set():
                return
            with suppress(ClientError, BotoCoreError):  # a caller without an answer asks the next question
                runtime.invoke_endpoint(EndpointName=naming.endpoint(stage.slug), ContentType="application/json",
                                        Body=json.dumps({"text": row.text}).encode())

    callers = [threading.Thread(target=ask, args=(number * len(stage.material.golden) // CALLERS,))
               for number in range(CALLERS)]
    for caller in callers:
        caller.start()
    try:
        yield
    finally:
        over.set()
        for caller in callers:
            caller.join()

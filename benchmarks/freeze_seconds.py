"""freeze_seconds: from `mangaassist freeze on` until every workflow and every reader honours it, under load.

    python -m benchmarks.freeze_seconds [--rounds 3]

Two embedded AWS, jp and us beside it; a tiny model serves in jp. Questions run through a fabric client all the time,
and a release is in flight, its canary half done. The clock starts when the command is entered, its own start included:

- `kill_switches`: the function that the retrain, release and receive machines ask; asked all the time;
- `fabric`: the chatbot's client, which keeps the flag for FLAG_TTL_S;
- `retrain`: an execution started when the command is back, until its end SkippedFrozen;
- `release`: the one in flight, until its abort is on its way to the guardrail (what follows is SageMaker's time);
- `drift`: an alarm that rings when the command is back, until the trigger has ignored it;
- `receive`: frozen in us, an execution started there when the command is back, until SkippedFrozen.

Only the state machines' own waits are shortened (the demo's clock); functions, events and caches take their real time.
The slowest reader is the number. No peer: nobody else has these readers.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.common import ROOT, write
from cli import executions, flags
from contracts import events, metrics, naming, records
from contracts.kill_switches import GLOBAL_FREEZE, promotion_flag
from fabric import Fabric
from fabric.serving_version import FLAG_TTL_S, ServingVersion
from tests.support.deployment import SLUG, STORY, Deployed, deployed
from tests.support.embedded import eventually
from tests.support.faults.scenes import put_canary
from tests.support.receiving import Regions, receiving

SLACK_S = 5.0
LIMIT_S = FLAG_TTL_S + SLACK_S
ASKERS = 3  # threads that put questions, as fast as they are answered
PATIENCE_S = 60.0
DEADLINE_MS = 10_000  # of a question: what is measured here is the flag, and the machine is busy


def freeze(place: Deployed, state: str) -> subprocess.Popen[bytes]:
    """The operator's command, in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "cli", "--deployment", place.target.deployment.name, "--endpoint-url",
         place.aws.endpoint_url, "freeze", state, "--reason", "benchmark"], cwd=ROOT, stdout=subprocess.DEVNULL)


def unpromoted_candidate(jp: Deployed) -> str:
    """A version that was published and never released."""
    arn = jp.start(reason="a candidate")
    jp.wait_for_state(arn, "PublishSignedCopy")
    with jp.flag(promotion_flag(SLUG).name, False):
        jp.finish(arn)
    return jp.newest_package()


@contextmanager
def load(fabric: Fabric) -> Iterator[list[int]]:
    """Questions without a pause; the list counts them."""
    over, asked = threading.Event(), [0] * ASKERS

    def ask(number: int) -> None:
        while not over.is_set():
            fabric.answer(f"please order volume {asked[number]}")
            asked[number] += 1

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(ASKERS)]
    for thread in threads:
        thread.start()
    try:
        yield asked
    finally:
        over.set()
        for thread in threads:
            thread.join()


class Stopwatch:
    """Seconds from the command until each reader honoured it; readers are watched side by side."""

    def __init__(self) -> None:
        self.started, self.seconds = time.monotonic(), dict[str, float]()
        self._threads: list[threading.Thread] = []
        self._failed: list[str] = []

    def watch(self, reader: str, honoured: Callable[[], Any]) -> None:
        def run() -> None:
            try:
                eventually(honoured, within_s=PATIENCE_S)
            except AssertionError as late:
                self._failed.append(f"{reader}: {late}")
            self.seconds[reader] = time.monotonic() - self.started

        self._threads.append(threading.Thread(target=run))
        self._threads[-1].start()

    def wait(self) -> dict[str, float]:
        for thread in self._threads:
            thread.join()
        if self._failed:
            raise RuntimeError("; ".join(self._failed))
        return self.seconds


def frozen(place: Deployed) -> bool:
    error, answer = place.aws.invoke(naming.function(records.PLATFORM, "kill_switches"), {"story": SLUG})
    return error is None and answer["mode"] == "frozen"


def abort_sent(jp: Deployed, arn: str) -> bool:
    """By the guard that hears of the flag, or by the release's own next look."""
    by_guard = any("freeze_guard" in call["role"] for call in jp.calls("PutMetricData"))
    return by_guard or "AbortCanary" in executions.states_entered(jp.target, arn)[0]


def ring(jp: Deployed) -> None:
    name = naming.drift_alarm(SLUG, STORY.monitors[0].name, "en")
    for state in ("OK", "ALARM"):
        jp.aws.client("cloudwatch").set_alarm_state(AlarmName=name, StateValue=state, StateReason="benchmark")


def ignored_alarms(jp: Deployed) -> int:
    group = f"/aws/lambda/{naming.function(SLUG, 'drift_trigger')}"
    logs = jp.aws.client("logs")
    if not logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"]:
        return 0
    pages = logs.get_paginator("filter_log_events").paginate(logGroupName=group)
    return sum(metrics.DRIFT_IGNORED in event["message"] for page in pages for event in page["events"])


def skipped(place: Deployed, start: Callable[[], str], watch: Stopwatch, reader: str) -> None:
    arn = start()

    def ended() -> bool:
        return executions.states_entered(place.target, arn)[0][-1:] == (events.SKIPPED_FROZEN,)

    watch.watch(reader, ended)


def one_round(regions: Regions, fabric: Fabric, serving: ServingVersion, candidate: str) -> dict[str, float]:
    jp, us = regions.jp, regions.us
    version = jp.ask()["model_version"]
    jp.aws.local("DELETE", "calls")
    arn = jp.start_release(candidate)
    jp.wait_for_state(arn, "WaitRelease")
    eventually(lambda: jp.endpoint().status == "Updating", within_s=PATIENCE_S)
    heard = ignored_alarms(jp)
    with load(fabric):
        eventually(lambda: serving.current() is not None and not serving.frozen, within_s=PATIENCE_S)
        watch = Stopwatch()
        command = freeze(jp, "on")
        watch.watch("kill_switches", lambda: frozen(jp))
        watch.watch("fabric", lambda: serving.frozen)
        watch.watch("release", lambda: abort_sent(jp, arn))
        if command.wait():
            raise RuntimeError("freeze on failed")
        skipped(jp, lambda: jp.start(trigger="weekly"), watch, "retrain")
        ring(jp)
        watch.watch("drift", lambda: ignored_alarms(jp) > heard)
        seconds = watch.wait()
        there = Stopwatch()
        if freeze(us, "on").wait():
            raise RuntimeError("freeze on failed in us")
        skipped(us, lambda: executions.start_receive(us.target, SLUG), there, "receive")
        seconds |= there.wait()
    ended = jp.finish_release(arn)
    if ended["status"] == "SUCCEEDED" or jp.ask()["model_version"] != version:
        raise RuntimeError(f"the release went on while frozen: {ended['status']}")
    thaw(jp, us, serving)
    return seconds


def thaw(jp: Deployed, us: Deployed, serving: ServingVersion) -> None:
    for place in (jp, us):
        flags.write(place.target, GLOBAL_FREEZE.name, False, story=records.PLATFORM, reason="benchmark")

    def thawed() -> bool:
        serving.current()
        return not serving.frozen and jp.left_behind() == []

    eventually(thawed, within_s=PATIENCE_S)
    for alarm in (naming.drift_alarm(SLUG, STORY.monitors[0].name, "en"), naming.guardrail_alarm(SLUG, "canary-abort")):
        jp.aws.client("cloudwatch").set_alarm_state(AlarmName=alarm, StateValue="OK", StateReason="benchmark")


def measure(folder: Path, rounds: int) -> list[dict[str, float]]:
    with deployed(folder / "jp") as jp:
        # Half a minute on this clock, so that a slow machine still finds the canary in flight. A shadow would come
        # before it, and a freeze that ends that one is heeded before anybody could tell.
        put_canary(jp, bake_s=3_600, termination_wait_s=3_600, watch_s=None)
        run = jp.run(brief=True, reason="first promotion")
        if run.outcome != events.PROMOTED:
            raise RuntimeError(f"the first run ended as {run.outcome}: {run.errors}")
        candidate = unpromoted_candidate(jp)
        with receiving(jp, folder / "us") as regions:
            serving = ServingVersion(SLUG, deployment=jp.target.deployment.name, dynamodb=jp.aws.client("dynamodb"),
                                     ssm=jp.aws.client("ssm"))
            runtime, firehose = jp.aws.client("sagemaker-runtime"), jp.aws.client("firehose")
            with Fabric(SLUG, runtime=runtime, firehose=firehose, serving=serving, deadline_ms=DEADLINE_MS) as fabric:
                return [one_round(regions, fabric, serving, candidate) for _ in range(rounds)]


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args(argv).rounds
    build = ROOT / "build"
    build.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=build, prefix=".bench-") as scratch:
        measured = measure(Path(scratch), rounds)
    by_reader: dict[str, list[float]] = defaultdict(list)
    for seconds in measured:
        for reader, value in seconds.items():
            by_reader[reader].append(value)
    slowest = max(max(values) for values in by_reader.values())
    write("freeze_seconds", unit="s", better="lower", ours=slowest, peers={},
          limits={f"<= {FLAG_TTL_S:g} s cache + {SLACK_S:g} s": slowest <= LIMIT_S},
          extra={"readers": {reader: {"median": round(statistics.median(values), 2), "max": round(max(values), 2)}
                             for reader, values in sorted(by_reader.items())}},
          workload=f"freeze on while {ASKERS} threads ask and a canary is in flight, slowest reader of {rounds} rounds")


if __name__ == "__main__":
    main()

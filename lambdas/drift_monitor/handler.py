"""{"story", "window_end"?, "monitors"?} ->
{"windows": [{"monitor", "language", "cohort"?, "hours"?, "psi", "p_value"?, "requests", "feature", "note"?}]}.

Every monitor of the contract unless `monitors` names some. For the concept monitor `psi` is the
drop of macro-F1. A language comes before its cohorts, an hour before the spans that it ends.

A scheduled look judges the last full hour and the spans that it ends, and keeps the hour's counts. `window_end` asks
for one window that ends then: a question of a person, which keeps nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from contracts import metrics, naming, stories
from contracts.alarm_budget import LOOK_EVERY_S, alarm_rule
from contracts.drift_windows import WHOLE, Histograms, WindowResult, parse_references
from contracts.functions import DriftMonitorEnv
from contracts.story import DriftMonitor
from lambdas.drift_monitor import spans
from lambdas.drift_monitor.captures import Window, read_captures, read_feedback
from lambdas.drift_monitor.logic import judge_concept
from lambdas.shared.aws import client, environment
from lambdas.shared.errors import InvalidInput
from lambdas.shared.objects import S3Uri, read_json
from lambdas.shared.observability import instrumented, logger, put_metric
from lambdas.shared.pointer import read_pointer


@instrumented("drift_monitor")
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    env, story = environment(DriftMonitorEnv), stories.story(event["story"])
    pointer = read_pointer(client("dynamodb"), env.CONTROL_TABLE, story.slug)
    if pointer is None:
        logger.info("never promoted: nothing to compare with")
        return {"windows": []}
    scheduled = event.get("window_end") is None
    now = datetime.now(UTC) - timedelta(seconds=env.CAPTURE_DELAY_S)
    end = spans.last_full_hour(now) if scheduled else _window_end(event["window_end"])
    wanted = event.get("monitors") or [m.name for m in story.monitors]
    results: list[WindowResult] = []
    chosen = [m for m in story.monitors if m.name in wanted]
    distribution = [m for m in chosen if m.kind != "concept"]
    if distribution:
        results += _distributions(env, story.slug, pointer, end, distribution, add_up=scheduled)
    for monitor in (m for m in chosen if m.kind == "concept"):
        results += _concept(env, story.slug, pointer, Window(end=end, seconds=monitor.window_s), monitor)
    named = {m.name: m for m in chosen}
    by_slice: defaultdict[tuple[str, str, str], list[WindowResult]] = defaultdict(list)
    for result in results:
        by_slice[result.monitor, result.language, result.cohort].append(result)
    points = [point for same in by_slice.values() for point in _points(same, story.slug, named)]
    put_metric(client("cloudwatch"), points)
    return {"windows": [result.to_dict() for result in results]}


def _window_end(raw: object) -> datetime:
    try:
        end = datetime.fromisoformat(str(raw))
    except ValueError:
        raise InvalidInput(
            f"window_end must be an ISO 8601 time such as 2026-11-20T03:00:00Z, got {raw!r}"
        ) from None
    return end.astimezone(UTC) if end.tzinfo else end.replace(tzinfo=UTC)


def _captures(
    env: DriftMonitorEnv, slug: str, pointer: dict[str, Any], window: Window
) -> Iterator[dict[str, Any]]:
    """Of the champion only: its reference says nothing about another version's requests."""
    return (
        record
        for record in read_captures(client("s3"), env.CAPTURE_BUCKET, slug, window)
        if str(record.get("model_version")) == pointer["version"]
    )


def _distributions(
    env: DriftMonitorEnv, slug: str, pointer: dict[str, Any], end: datetime, monitors: list[DriftMonitor], *,
    add_up: bool,
) -> list[WindowResult]:
    s3 = client("s3")
    references = parse_references(
        read_json(s3, S3Uri.parse(pointer["model_uri"]).child(naming.DRIFT_REFERENCE_FILE))
    )
    hour = Histograms(references)
    for record in _captures(env, slug, pointer, Window(end=end, seconds=LOOK_EVERY_S)):
        hour.add(record)
    if not add_up:
        return [result for monitor in monitors for result in hour.judge(monitor)]
    folder = spans.folder_of(env.CAPTURE_BUCKET, slug, pointer["version"])
    spans.keep(s3, folder, end, hour)
    counted = spans.spans(s3, folder, end, hour, references)
    return [result for monitor in monitors for result in spans.judge(counted, monitor)]


def _concept(
    env: DriftMonitorEnv, slug: str, pointer: dict[str, Any], window: Window, monitor: DriftMonitor
) -> list[WindowResult]:
    feedback = read_feedback(client("s3"), env.CAPTURE_BUCKET, slug, window)
    if len(feedback) < monitor.min_requests:  # a day of captures is much to read for no evidence
        return judge_concept(monitor, (), feedback, {})
    evaluation = read_json(client("s3"), S3Uri.parse(pointer["model_uri"]).child(naming.EVALUATION_FILE))
    return judge_concept(monitor, _captures(env, slug, pointer, window), feedback, evaluation)


def _points(
    spans_of_slice: list[WindowResult], slug: str, monitors: dict[str, DriftMonitor]
) -> list[tuple[str, float, dict[str, str]]]:
    """How much the look's own window held, always; the monitor's own number only when a span has evidence.

    A cohort's number and a longer span's are more data points of their language: the alarm looks at the largest.
    """
    own = spans_of_slice[0]
    where = {"story": slug, "language": own.language}
    named = {**where, "monitor": own.monitor}
    monitor = monitors[own.monitor]
    rule = alarm_rule(monitor)
    points = []
    if own.cohort == WHOLE:
        unjudged = all(result.value is None for result in spans_of_slice)
        points = [(metrics.WINDOW_REQUESTS, float(own.requests), named),
                  (metrics.UNJUDGED_WINDOW, float(unjudged), named)]
    for result in spans_of_slice:
        once, sustained = (result.held(monitor.threshold, level) for level in (rule.sure_level, rule.level))
        if once is None or sustained is None:
            continue
        if monitor.kind == "concept":
            points.append((metrics.CONCEPT_F1_DROP, once, where))
        else:
            points += [(metrics.INPUT_PSI, once, named), (metrics.SUSTAINED_PSI, sustained, named)]
    return points

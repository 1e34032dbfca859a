"""{"story", "window_end"?, "monitors"?} ->
{"windows": [{"monitor", "language", "cohort"?, "psi", "p_value"?, "requests", "feature", "note"?}]}.

Every monitor of the contract unless `monitors` names some. For the concept monitor `psi` is the
drop of macro-F1. A language comes before its cohorts.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from contracts import metrics, naming, stories
from contracts.alarm_budget import alarm_rule
from contracts.functions import DriftMonitorEnv
from contracts.story import DriftMonitor
from lambdas.drift_monitor.captures import Window, read_captures, read_feedback
from lambdas.drift_monitor.logic import WHOLE, Histograms, WindowResult, judge_concept, parse_references
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
    end = _window_end(event.get("window_end"), env.CAPTURE_DELAY_S)
    wanted = event.get("monitors") or [m.name for m in story.monitors]
    results: list[WindowResult] = []
    chosen = [m for m in story.monitors if m.name in wanted]
    for seconds in sorted({m.window_s for m in chosen if m.kind != "concept"}):
        distribution = [m for m in chosen if m.kind != "concept" and m.window_s == seconds]
        results += _distributions(env, story.slug, pointer, Window(end=end, seconds=seconds), distribution)
    for monitor in (m for m in chosen if m.kind == "concept"):
        results += _concept(env, story.slug, pointer, Window(end=end, seconds=monitor.window_s), monitor)
    named = {m.name: m for m in chosen}
    put_metric(client("cloudwatch"), [point for result in results for point in _points(result, story.slug, named)])
    return {"windows": [result.to_dict() for result in results]}


def _window_end(raw: object, delay_s: int) -> datetime:
    if raw is None:
        return datetime.now(UTC) - timedelta(seconds=delay_s)
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
    env: DriftMonitorEnv, slug: str, pointer: dict[str, Any], window: Window, monitors: list[DriftMonitor]
) -> list[WindowResult]:
    reference = read_json(client("s3"), S3Uri.parse(pointer["model_uri"]).child(naming.DRIFT_REFERENCE_FILE))
    histograms = Histograms(parse_references(reference))
    for record in _captures(env, slug, pointer, window):
        histograms.add(record)
    return [result for monitor in monitors for result in histograms.judge(monitor)]


def _concept(
    env: DriftMonitorEnv, slug: str, pointer: dict[str, Any], window: Window, monitor: DriftMonitor
) -> list[WindowResult]:
    feedback = read_feedback(client("s3"), env.CAPTURE_BUCKET, slug, window)
    if len(feedback) < monitor.min_requests:  # a day of captures is much to read for no evidence
        return judge_concept(monitor, (), feedback, {})
    evaluation = read_json(client("s3"), S3Uri.parse(pointer["model_uri"]).child(naming.EVALUATION_FILE))
    return judge_concept(monitor, _captures(env, slug, pointer, window), feedback, evaluation)


def _points(
    result: WindowResult, slug: str, monitors: dict[str, DriftMonitor]
) -> list[tuple[str, float, dict[str, str]]]:
    """How much the window held, always; the monitor's own number only when there is evidence.

    A cohort's number is one more data point of its language: the alarm looks at the largest.
    """
    where = {"story": slug, "language": result.language}
    named = {**where, "monitor": result.monitor}
    monitor = monitors[result.monitor]
    rule = alarm_rule(monitor)
    points = []
    if result.cohort == WHOLE:
        points = [(metrics.WINDOW_REQUESTS, float(result.requests), named),
                  (metrics.UNJUDGED_WINDOW, float(result.value is None), named)]
    once, sustained = (result.held(monitor.threshold, level) for level in (rule.sure_level, rule.level))
    if once is None or sustained is None:
        return points
    if monitor.kind == "concept":
        return [*points, (metrics.CONCEPT_F1_DROP, once, where)]
    return [*points, (metrics.INPUT_PSI, once, named), (metrics.SUSTAINED_PSI, sustained, named)]

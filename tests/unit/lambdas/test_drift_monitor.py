"""Captures of a window against the champion's reference; feedback against its evaluation."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.stub import Stubber

from contracts import records
from contracts.alarm_budget import alarm_rule
from contracts.drift import Reference, psi
from contracts.drift_windows import Histograms, WindowResult
from contracts.stories import story
from lambdas.drift_monitor.captures import Window, parse
from lambdas.drift_monitor.handler import handler
from lambdas.drift_monitor.logic import judge_concept
from lambdas.shared.errors import InvalidInput
from tests.unit.lambdas.account import ARTIFACTS, CAPTURE, STORY, Account

END = datetime(2026, 11, 20, 3, 0, tzinfo=UTC)
MONITORS = {m.name: m for m in story(STORY).monitors}
CHARS = Reference(feature="chars", counts=(300, 300), edges=(20.0,))
INTENT = Reference(feature="intent", counts=(500, 100, 0), categories=("order_status", "smalltalk"))
REFERENCE = {"features": {lang: [CHARS.to_dict(), INTENT.to_dict()] for lang in ("en", "ja")}}
Stub = Callable[[str], Stubber]


def record(number: int, *, language: str = "en", chars: int | None = None, at: datetime | None = None,
           intent: str = "order_status", version: str = "2") -> dict[str, Any]:
    return {
        "request_id": f"r{number}", "at": (at or END - timedelta(minutes=30)).isoformat(), "language": language,
        "model_version": version, "intent": intent, "confidence": 0.9,
        "features": {"chars": chars if chars is not None else (10 if number % 2 else 30)},
    }


def put_captures(account: Account, captures: Iterable[dict[str, Any]], *, hour: str = "2026/11/20/02",
                 name: str = "part") -> None:
    body = gzip.compress(b"".join(json.dumps(c).encode() + b"\n" for c in captures))
    account.put_object(CAPTURE, f"capture/{STORY}/{hour}/{name}.gz", body)


@pytest.fixture
def champion(account: Account) -> Account:
    account.put_control(records.POINTER, version="2", model_uri=f"s3://{ARTIFACTS}/models/{STORY}/abc/")
    account.put_object(ARTIFACTS, f"models/{STORY}/abc/drift_reference.json", json.dumps(REFERENCE).encode())
    evaluation = {"metrics": {"macro_f1": 0.9}, "slices": {"language=en": {"macro_f1": 0.8}}}
    account.put_object(ARTIFACTS, f"models/{STORY}/abc/evaluation.json", json.dumps(evaluation).encode())
    return account


def run(context: Any, monitors: list[str] | None = None) -> dict[tuple[str, str], dict[str, Any]]:
    event: dict[str, Any] = {"story": STORY, "window_end": END.isoformat()}
    if monitors:
        event["monitors"] = monitors
    return {(w["monitor"], w["language"]): w for w in handler(event, context)["windows"]}


def metric_values(account: Account, name: str, statistic: str = "Maximum") -> dict[tuple[str, ...], float]:
    """(dimension values) -> the largest (or least) value put."""
    import boto3

    cloudwatch = boto3.client("cloudwatch")
    found = {}
    for metric in cloudwatch.list_metrics(Namespace="MangaAssist/ML", MetricName=name)["Metrics"]:
        points = cloudwatch.get_metric_statistics(
            Namespace="MangaAssist/ML", MetricName=name, Dimensions=metric["Dimensions"], Period=3600,
            StartTime=datetime.now(UTC) - timedelta(hours=2), EndTime=datetime.now(UTC) + timedelta(hours=2),
            Statistics=[statistic])["Datapoints"]
        found[tuple(d["Value"] for d in metric["Dimensions"])] = points[0][statistic]
    return found


def test_unchanged_traffic_shows_next_to_no_drift(champion: Account, context: Any) -> None:
    put_captures(champion, [record(i, intent="smalltalk" if i % 6 == 0 else "order_status") for i in range(300)])
    windows = run(context, ["input", "prediction"])
    assert windows["input", "en"]["requests"] == 300
    assert windows["input", "en"]["psi"] < 0.01
    assert windows["prediction", "en"]["feature"] == "intent"
    assert windows["prediction", "en"]["psi"] < 0.01
    assert metric_values(champion, "InputPsi").keys() == {(STORY, "en", "input"), (STORY, "en", "prediction")}


def test_shifted_traffic_in_one_language_shows_in_that_language_only(champion: Account, context: Any) -> None:
    put_captures(champion, [record(i) for i in range(200)])
    put_captures(champion, [record(i, language="ja", chars=400) for i in range(200)], name="ja")
    windows = run(context, ["input"])
    assert windows["input", "ja"]["psi"] > 0.2 > windows["input", "en"]["psi"]
    assert windows["input", "ja"]["feature"] == "chars"
    assert metric_values(champion, "InputPsi")[STORY, "ja", "input"] == pytest.approx(windows["input", "ja"]["psi"])


def test_a_thin_window_publishes_its_size_and_says_no_evidence(champion: Account, context: Any) -> None:
    put_captures(champion, [record(i, chars=400) for i in range(199)])
    windows = run(context, ["input"])
    assert windows["input", "en"] == {
        "monitor": "input", "language": "en", "requests": 199, "psi": None, "feature": "", "note": "no evidence"}
    assert windows["input", "ja"]["requests"] == 0
    assert metric_values(champion, "InputPsi") == {}
    assert metric_values(champion, "WindowRequests") == {(STORY, "en", "input"): 199, (STORY, "ja", "input"): 0}


def test_a_cohort_is_judged_beside_its_language(champion: Account, context: Any) -> None:
    """A tenth of the traffic shifts: the language hardly shows it, the cohort does, and the alarm's metric too."""
    cohorts = {**REFERENCE, "cohorts": {"en": {"new": [CHARS.to_dict()]}}}
    champion.put_object(ARTIFACTS, f"models/{STORY}/abc/drift_reference.json", json.dumps(cohorts).encode())
    put_captures(champion, [{**record(i), "cohort": "returning"} for i in range(2_000)])
    put_captures(champion, [{**record(i, chars=400), "cohort": "new"} for i in range(220)], name="new")
    event = {"story": STORY, "window_end": END.isoformat(), "monitors": ["input"]}
    found = {(w["language"], w.get("cohort")): w for w in handler(event, context)["windows"]}
    assert next(iter(found)) == ("en", None)
    assert found["en", None]["psi"] < 0.2 < found["en", "new"]["psi"]
    assert found["en", "new"]["p_value"] < 1e-12
    assert found["en", "returning"]["note"] == "no reference"
    for name in ("InputPsi", "SustainedPsi"):
        assert metric_values(champion, name)[STORY, "en", "input"] == pytest.approx(found["en", "new"]["psi"])
    assert metric_values(champion, "WindowRequests")[STORY, "en", "input"] == 2_220


def test_a_shift_that_chance_explains_is_held_at_the_threshold_of_its_alarm() -> None:
    seen = WindowResult(monitor="input", language="en", requests=200, value=0.27, p_value=1e-9, feature="chars")
    rule = alarm_rule(MONITORS["input"])
    assert rule.sure_level < 1e-9 < rule.level
    assert (seen.held(0.2, rule.sure_level), seen.held(0.2, rule.level)) == (0.2, 0.27)
    calm, nothing = replace(seen, value=0.1, p_value=0.5), replace(seen, value=None, p_value=None)
    assert (calm.held(0.2, rule.level), nothing.held(0.2, rule.level)) == (0.1, None)


def test_a_window_that_could_not_be_judged_says_so_in_a_metric(champion: Account, context: Any) -> None:
    put_captures(champion, [record(i) for i in range(200)])
    run(context, ["input"])
    assert metric_values(champion, "UnjudgedWindow") == {(STORY, "en", "input"): 0, (STORY, "ja", "input"): 1}


def test_a_language_the_champion_was_never_evaluated_on_has_no_reference(champion: Account, context: Any) -> None:
    put_captures(champion, [record(i, language="mixed") for i in range(200)])
    assert run(context, ["input"])["input", "mixed"]["note"] == "no reference"


def test_only_the_window_and_only_the_champion_count(champion: Account, context: Any) -> None:
    put_captures(champion, [record(1, at=END - timedelta(hours=1)), record(2, at=END + timedelta(seconds=1)),
                            record(3, version="1"), record(4, at=END), {"at": "yesterday", "model_version": "2"}])
    # a record of 02:30 that reached Firehose after 03:00 lies under the next hour
    put_captures(champion, [record(5)], hour="2026/11/20/03")
    assert run(context, ["input"])["input", "en"]["requests"] == 2


def test_a_fallback_says_nothing_of_any_model_and_is_not_counted(champion: Account, context: Any) -> None:
    fallbacks = [{**record(i, intent="smalltalk"), "source": "fallback", "features": None} for i in range(300)]
    put_captures(champion, [*(record(i) for i in range(200)), *fallbacks])
    assert run(context, ["prediction"])["prediction", "en"]["requests"] == 200


def test_a_broken_line_does_not_blind_the_monitor() -> None:
    assert list(parse(b'{"a": 1}\nnot json\n[1]\n\xff\n{"b": 2}')) == [{"a": 1}, {"b": 2}]


def test_a_record_without_a_usable_feature_is_a_request_but_no_evidence() -> None:
    histograms = Histograms({("en", ""): (CHARS,)})
    for chars in (None, "many", True):
        histograms.add({"language": "en", "features": {"chars": chars}})
    assert histograms.requests["en", ""] == 3
    monitor = MONITORS["input"]
    for _ in range(200):
        histograms.add({"language": "en"})
    assert histograms.judge(monitor)[0].note == "100% of the rows lack the feature, at most 5% may"


def test_a_reference_for_all_languages_together_is_used_when_there_is_one() -> None:
    histograms = Histograms({("all", ""): (CHARS,), ("en", ""): (CHARS,)})
    for i in range(200):
        histograms.add(record(i))
    found = {r.language: r.value for r in histograms.judge(MONITORS["input"])}
    assert found["all"] == found["en"] == pytest.approx(psi((300, 300), (100, 100)))


def test_a_story_that_was_never_promoted_has_nothing_to_compare_with(account: Account, context: Any) -> None:
    assert handler({"story": STORY}, context) == {"windows": []}


@pytest.fixture
def at_clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[datetime], None]:
    def put(now: datetime) -> None:
        class Clock(datetime):
            @classmethod
            def now(cls, tz: Any = None) -> datetime:
                return now

        monkeypatch.setattr("lambdas.drift_monitor.handler.datetime", Clock)

    return put


def scheduled(context: Any) -> dict[tuple[str, int], dict[str, Any]]:
    found = handler({"story": STORY, "monitors": ["input"]}, context)["windows"]
    return {(w["language"], w.get("hours", 0)): w for w in found if "cohort" not in w}


def test_a_scheduled_look_judges_the_last_hour_that_firehose_has_written(
    champion: Account, context: Any, at_clock: Callable[[datetime], None]
) -> None:
    put_captures(champion, [record(1), record(2), record(3, at=END - timedelta(minutes=70))])
    at_clock(END + timedelta(minutes=4))  # the delay is five minutes
    put_captures(champion, [record(1, at=END - timedelta(minutes=65))], hour="2026/11/20/01")
    assert scheduled(context)["en", 1]["requests"] == 2  # the hour until 02:00
    at_clock(END + timedelta(minutes=5))
    assert scheduled(context)["en", 1]["requests"] == 2  # the hour until 03:00


def test_a_shift_too_thin_for_an_hour_shows_in_the_hours_together(
    champion: Account, context: Any, at_clock: Callable[[datetime], None]
) -> None:
    for hours in range(4):
        end = END + timedelta(hours=hours)
        put_captures(champion, [record(i, chars=400, at=end - timedelta(minutes=9)) for i in range(60)],
                     hour=f"2026/11/20/0{2 + hours}")
        at_clock(end + timedelta(minutes=6))
        found = scheduled(context)
        assert found["en", 1]["note"] == "no evidence"
    assert (found["en", 4]["requests"], found["en", 4]["feature"]) == (240, "chars")
    assert found["en", 4]["psi"] == pytest.approx(psi((300, 300), (0, 240)))
    assert ("en", 12) not in found  # nothing was counted before
    assert metric_values(champion, "InputPsi")[STORY, "en", "input"] == pytest.approx(found["en", 4]["psi"])
    assert metric_values(champion, "UnjudgedWindow", "Minimum")[STORY, "en", "input"] == 0
    assert metric_values(champion, "UnjudgedWindow", "Minimum")[STORY, "ja", "input"] == 1
    scheduled(context)  # the same hour once more
    assert scheduled(context)["en", 4]["requests"] == 240


def test_a_question_of_a_person_keeps_no_counts_and_a_new_champion_starts_anew(
    champion: Account, context: Any, at_clock: Callable[[datetime], None]
) -> None:
    put_captures(champion, [record(i, at=END - timedelta(minutes=70)) for i in range(200)], hour="2026/11/20/01")
    at_clock(END - timedelta(minutes=50))
    scheduled(context)
    champion.put_control(records.POINTER, version="3", model_uri=f"s3://{ARTIFACTS}/models/{STORY}/abc/")
    at_clock(END + timedelta(minutes=10))
    run(context, ["input"])
    assert set(scheduled(context)) == {("en", 1), ("ja", 1)}


def test_hours_add_up_and_counts_over_other_bins_are_refused() -> None:
    references = {("en", ""): (CHARS,)}
    hours = [Histograms(references), Histograms(references), Histograms(references)]
    for number, chars in enumerate((10, 30, 30, 10, 30)):
        hours[number % 2].add(record(number, chars=chars))
        hours[2].add(record(number, chars=chars))
    once = Histograms.from_dict(references, json.loads(json.dumps(hours[0].to_dict())))
    assert once.merge(hours[1]).to_dict() == hours[1].merge(once).to_dict() == hours[2].to_dict()
    other = {("en", ""): (replace(CHARS, counts=(1, 2, 3), edges=(10.0, 20.0)),)}
    with pytest.raises(ValueError, match="another version's reference"):
        Histograms.from_dict(other, hours[0].to_dict())


@pytest.mark.parametrize("end", ["2026-11-20T03:00:00", "2026-11-20T03:00:00Z", "2026-11-20T12:00:00+09:00"])
def test_a_window_may_end_at_any_iso_time(champion: Account, context: Any, end: str) -> None:
    put_captures(champion, [record(4, at=END)])
    windows = handler({"story": STORY, "window_end": end, "monitors": ["input"]}, context)["windows"]
    assert [w["requests"] for w in windows if w["language"] == "en"] == [1]


def test_a_window_end_that_is_no_time_is_refused(champion: Account, context: Any) -> None:
    with pytest.raises(InvalidInput, match="ISO 8601 time such as 2026-11-20T03:00:00Z, got 'now'"):
        handler({"story": STORY, "window_end": "now"}, context)


def test_a_record_time_without_zone_is_utc() -> None:
    assert Window(end=END, seconds=60).holds("2026-11-20T02:59:30")
    assert not Window(end=END, seconds=60).holds("2026-11-20T02:59:00+00:00")  # the start is excluded


# --- concept ------------------------------------------------------------------------------


def put_feedback(account: Account, labels: dict[str, str]) -> None:
    lines = [json.dumps({"request_id": r, "label": label}) for r, label in labels.items()]
    account.put_object(CAPTURE, f"feedback/{STORY}/day.jsonl", "\n".join([*lines, '{"request_id": 7}']).encode())


def test_the_drop_of_macro_f1_is_measured_on_requests_with_feedback(
    champion: Account, context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_captures(champion, [record(i, intent="smalltalk" if i % 2 else "order_status") for i in range(200)])
    # every second order_status was really smalltalk: 50 of 200 wrong
    truth = {f"r{i}": "smalltalk" if i % 2 or i % 4 == 0 else "order_status" for i in range(200)}
    put_feedback(champion, truth)
    # moto dates objects by today's clock; the window lies in November
    monkeypatch.setattr(Window, "start", property(lambda self: datetime(2020, 1, 1, tzinfo=UTC)))
    monkeypatch.setattr(Window, "hours", lambda self: ["2026/11/20/02/"])
    windows = run(context, ["concept"])
    # smalltalk: 100 hits, 50 missed -> F1 4/5; order_status: 50 hits, 50 wrongly answered -> 2/3
    measured = (4 / 5 + 2 / 3) / 2
    assert windows["concept", "all"]["psi"] == pytest.approx(0.9 - measured)
    assert windows["concept", "en"]["psi"] == pytest.approx(0.8 - measured)
    assert metric_values(champion, "ConceptF1Drop")[STORY, "all"] == pytest.approx(0.9 - measured)


def test_little_feedback_is_no_evidence_and_no_captures_are_read(
    champion: Account, context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_feedback(champion, {"r1": "smalltalk"})
    monkeypatch.setattr("lambdas.drift_monitor.handler.read_captures", None)  # calling it would be a TypeError
    windows = run(context, ["concept"])
    assert windows["concept", "all"]["note"] == "no evidence"


def test_concept_is_judged_per_cohort_and_a_capture_counts_once() -> None:
    captures = [{**record(i, intent="smalltalk" if i % 2 else "order_status"), "cohort": "new"} for i in range(400)]
    feedback = {f"r{i}": "smalltalk" for i in range(400)}
    evaluation = {"slices": {"language=en,cohort=new": {"macro_f1": 0.9, "rows": 300}}}
    found = {(r.language, r.cohort): r for r in
             judge_concept(MONITORS["concept"], captures * 2, feedback, evaluation)}
    assert {r.requests for r in found.values()} == {400}
    assert found["en", "new"].p_value is not None
    assert found["en", "new"].p_value < 1e-9
    assert found["en", ""].note == "no reference"


def test_feedback_without_an_evaluation_of_its_language_has_no_reference() -> None:
    captures = [record(i, language="ja") for i in range(200)]
    feedback = {f"r{i}": "order_status" for i in range(200)}
    evaluation = {"metrics": {"macro_f1": 0.9}}
    found = {r.language: r for r in judge_concept(MONITORS["concept"], captures, feedback, evaluation)}
    assert found["ja"].note == "no reference"
    assert found["all"].value == pytest.approx(0.9 - 1.0)


def test_a_feature_that_too_many_requests_lack_is_not_judged() -> None:
    reference = {("en", ""): [Reference(feature="chars", counts=(100, 100), edges=(10.0,))]}
    monitor = replace(MONITORS["input"], features=("chars",))
    notes = {}
    for lacking in (0, 60):
        histograms = Histograms(reference)
        for i in range(400):
            histograms.add({"language": "en", "features": {} if i < lacking else {"chars": 5 if i % 2 else 20}})
        (found,) = [r for r in histograms.judge(monitor) if (r.language, r.cohort) == ("en", "")]
        notes[lacking] = (found.value is None, found.note)
    assert notes[0] == (False, "")
    assert notes[60] == (True, "15% of the rows lack the feature, at most 5% may")

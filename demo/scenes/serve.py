"""English, Japanese and mixed requests; ids, version and language in every answer and log line."""

from __future__ import annotations

import json
from typing import Any

from cli import traffic
from contracts import naming
from contracts.datasets import LabelRow
from contracts.inference import check_request_id
from contracts.language import LANGUAGES, detect_language
from demo.stage import Stage, expect

REQUESTS = 300
# Written for the demo: the public label file is English only, the endpoint has to answer all three.
OTHERS = (
    "明日の天気を教えてください",
    "この漫画の最新刊はいつ出ますか",
    "静かなレストランを二名で予約したい",
    "プレイリストにこの曲を追加して",
    "返品したいのですがどうすればいいですか",
    "One Pieceの新刊いつ出る?",
    "このplaylistに入れておいて",
    "tomorrowの天気は?",
    "Table for two を予約して",
)
LOG_PREFIX = "/aws/sagemaker/Endpoints/"


def serve(stage: Stage) -> str:
    stage.say(f"sending {REQUESTS} requests")
    rows = traffic_rows(stage)
    result = traffic.replay(stage.target, stage.slug, rows, requests=REQUESTS)
    expect(result.failed == 0, f"{result.failed} of {result.requests} requests failed")
    expect(result.capture_failures == 0, f"{result.capture_failures} requests were not captured")
    version = str(stage.pointer()["version"])
    for answer in result.answers:
        check_answer(answer, version)
    missing = set(LANGUAGES) - result.languages.keys()
    expect(not missing, f"no answer in {sorted(missing)}")
    check_logs(stage, {str(a["request_id"]) for a in result.answers}, {row.text for row in rows})
    stage.serving = {"requests": result.requests} | {
        f"p{p}_ms": round(result.percentile(p), 2) for p in (50, 95, 99)
    }
    spread = ", ".join(f"{n} {language}" for language, n in sorted(result.languages.items()))
    return (
        f"{result.requests} requests ({spread}) answered by version {version}; p50 "
        f"{result.percentile(50):.1f} ms, "
        f"p95 {result.percentile(95):.1f} ms, p99 {result.percentile(99):.1f} ms at the caller; "
        "every answer and log "
        "line has request_id, version and language, none has text"
    )


def traffic_rows(stage: Stage) -> list[LabelRow]:
    """Golden texts, and every tenth request one of `OTHERS`."""
    golden = stage.material.golden
    others = [
        LabelRow(id=f"demo-{i}", text=text, label="", language=detect_language(text))
        for i, text in enumerate(OTHERS)
    ]
    return [
        others[i // 10 % len(others)] if i % 10 == 9 else golden[i % len(golden)] for i in range(REQUESTS)
    ]


def check_answer(answer: dict[str, Any], version: str) -> None:
    expect(
        check_request_id(answer.get("request_id")) is not None,
        f"an answer has no request_id: {sorted(answer)}",
    )
    expect(
        str(answer.get("model_version")) == version,
        f"an answer came from {answer.get('model_version')}, version {version} is promoted",
    )
    expect(answer.get("language") in LANGUAGES, f"an answer has language {answer.get('language')!r}")


def check_logs(stage: Stage, request_ids: set[str], texts: set[str]) -> None:
    """Every request has a structured log line, and no line holds what a customer wrote."""
    lines = endpoint_log(stage)
    logged = {}
    for line in lines:
        if line.startswith("{"):
            record = json.loads(line)
            if "request_id" in record:
                logged[record["request_id"]] = record
    missing = request_ids - logged.keys()
    expect(not missing, f"{len(missing)} of {len(request_ids)} requests have no log line")
    for record in logged.values():
        expect(
            {"model_version", "language"} <= record.keys(),
            f"a log line lacks version or language: {sorted(record)}",
        )
    whole = "\n".join(lines)
    leaked = [text for text in texts if len(text) > 8 and text in whole]
    expect(not leaked, f"the log holds the text of {len(leaked)} requests")


def endpoint_log(stage: Stage) -> list[str]:
    logs = stage.target.client("logs")
    pages = logs.get_paginator("filter_log_events").paginate(
        logGroupName=LOG_PREFIX + naming.endpoint(stage.slug)
    )
    return [event["message"] for page in pages for event in page["events"]]

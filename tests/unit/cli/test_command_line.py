import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli import labels
from cli.errors import CliError
from cli.executions import Finished, outcome
from cli.main import app, key_values, on_or_off
from contracts import events

run = CliRunner().invoke


def write(path: Path, rows: list[object]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def good_rows(count: int) -> list[object]:
    row = {"label": "play_music", "taxonomy": "snips-v1"}
    return [{"id": f"r{i}", "text": f"play song {i}", **row} for i in range(count)]


def test_help_lists_every_command() -> None:
    text = run(app, ["--help"]).output
    for command in (
        "local",
        "deploy",
        "labels",
        "retrain",
        "status",
        "invoke",
        "freeze",
        "promotion",
        "rollback",
        "drift",
        "cost",
        "report",
    ):
        assert command in text


def test_freeze_needs_a_reason() -> None:
    assert run(app, ["freeze", "on"]).exit_code == 2


def test_freeze_takes_on_or_off_only() -> None:
    with pytest.raises(CliError, match="'maybe': allowed are on, off"):
        on_or_off("maybe")


def test_a_hyperparameter_without_a_value_is_refused() -> None:
    with pytest.raises(CliError, match="'Epochs' must be KEY=VALUE"):
        key_values(["Epochs"])


def test_a_label_file_with_too_many_bad_rows_is_shown_and_not_uploaded(tmp_path: Path) -> None:
    path = write(tmp_path / "labels.jsonl", [*good_rows(30), {"id": "x", "text": "hi", "label": "nonsense"}])
    result = run(app, ["labels", "ingest", str(path), "--story", "intent-classifier"])
    assert isinstance(result.exception, CliError)
    assert "nothing was uploaded" in str(result.exception)
    assert "nonsense" in result.output
    assert "unknown_label" in result.output


def test_a_missing_label_file_is_named() -> None:
    with pytest.raises(CliError, match=r"gone\.jsonl: there is no such file"):
        labels.check(Path("gone.jsonl"))


def test_an_empty_label_file_says_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(CliError, match="the file is empty; expected one JSON object per line"):
        labels.check(write(tmp_path / "labels.jsonl", []))


def test_ninety_nine_good_rows_and_one_bad_go_on(tmp_path: Path) -> None:
    path = write(tmp_path / "labels.jsonl", [*good_rows(99), {"id": "x", "text": "", "label": "play_music"}])
    validation = labels.check(path)
    labels.refuse_when_too_bad(validation)
    assert (len(validation.rows), len(validation.problems)) == (99, 1)


def test_an_unknown_story_is_refused_before_the_file_is_read(tmp_path: Path) -> None:
    result = run(app, ["labels", "ingest", str(tmp_path / "gone.jsonl"), "--story", "intents"])
    assert "unknown story 'intents'" in str(result.exception)


def test_a_failed_execution_is_failed_whatever_its_last_state() -> None:
    assert outcome("FAILED", ("TakeLease", "Promote")) == events.FAILED
    assert outcome("TIMED_OUT", ()) == events.FAILED


def test_an_execution_that_succeeded_is_named_after_its_end_state() -> None:
    assert outcome("SUCCEEDED", ("TakeLease", "GiveLeaseBack", "SkippedFrozen")) == events.SKIPPED_FROZEN


def test_a_deploy_takes_no_stack_tags_since_those_would_reset_every_flag() -> None:
    answer = run(app, ["deploy", "--tag", "team=ml"])
    assert answer.exit_code == 2
    assert "No such option" in answer.output


@pytest.mark.parametrize(("ended", "output", "error", "why"), [
    (events.REJECTED, {"verdict": {"reasons": ["macro_accuracy: 0.81 < 0.9", "p95: 16 > 15"]}}, "",
     "macro_accuracy: 0.81 < 0.9; p95: 16 > 15"),
    (events.REJECTED_LABELS, {"freeze": {"answer": {"status": "low_kappa"}}}, "", "status low_kappa"),
    (events.SKIPPED_LEASED, {"lease": {"holder": "weekly-7"}}, "", "weekly-7"),
    (events.CANARY_ABORTED, {"worse": {"said": "slow in en"}}, "", "slow in en"),
    (events.REFUSED, {"error": {"Error": "BadSignature", "said": {"errorMessage": "not home's key"}}}, "",
     "not home's key"),
    (events.REJECTED, {"verdict": None}, "", ""), (events.PROMOTED, {"verdict": {"reasons": []}}, "", ""),
    (events.FAILED, {}, "RetrainFailed: see the log", "RetrainFailed: see the log"),
])
def test_a_run_says_why_it_ended_so(ended: str, output: dict[str, object], error: str, why: str) -> None:
    done = Finished(arn="arn", name="run", status="SUCCEEDED", outcome=ended, seconds=1.0, states=(), output=output,
                    error=error)
    assert done.why == why

"""Deliveries through the door and the expiry of snapshots, as they are deployed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cli import executions, label_tasks
from cli.errors import CliError
from cli.labels import INGESTED
from contracts import events, naming
from contracts.vendor_callback import VENDORS
from demo import vendors
from tests.support import shop_labels
from tests.support.deployment import PATIENCE_S, SLUG, Deployed
from tests.support.embedded import eventually

pytestmark = pytest.mark.workflow
TASK = "workflow"


def task_file(folder: Path, rows: list[shop_labels.Row], name: str = TASK) -> Path:
    path = folder / f"task-{name}.json"
    items = [{key: row[key] for key in ("id", "text", "language")} for row in rows]
    path.write_text(json.dumps({"name": name, "source": "vendor", "why": "a test", "by": list(VENDORS),
                                "taxonomy": shop_labels.TAXONOMY, "items": items}), "utf-8")
    return path


def delivered(jp: Deployed, vendor: str, votes: list[dict[str, Any]]) -> tuple[int, dict[str, str]]:
    return vendors.deliver(jp.target, vendor, story=SLUG, task=TASK, votes=votes)


def settled(jp: Deployed, batch_id: str) -> executions.Finished:
    key = naming.delivery_key(SLUG, TASK, batch_id)
    arn = executions.started_with(jp.target, naming.label_ingest_state_machine(), {"key": key})
    return executions.wait(jp.target, arn, timeout_s=PATIENCE_S)


def test_a_task_is_settled_when_the_second_vendor_has_delivered_and_a_replay_starts_nothing(jp: Deployed) -> None:
    rows = [row for row in shop_labels.rows() if row["language"] == "en"][:33]
    path = task_file(jp.folder, rows)
    assert len(label_tasks.send(jp.target, path, story=SLUG).items) == 33
    label_tasks.send(jp.target, path, story=SLUG)  # the same again is no other one
    with pytest.raises(CliError, match="with other content"):
        label_tasks.send(jp.target, task_file(jp.folder, rows[:2]), story=SLUG)
    votes = [{"item": row["id"], "annotator": "1", "label": row["label"]} for row in rows]
    edit = [{**votes[0], "label": next(label for label in shop_labels.LABELS if label != votes[0]["label"])}]
    first, second = VENDORS
    status, tampered = vendors.deliver(jp.target, first, story=SLUG, task=TASK, votes=votes, tampered=True)
    assert (status, tampered["code"]) == (401, "signature_refused")
    status, answer = delivered(jp, first, [*edit, *votes[1:], {"item": rows[0]["id"]}])
    assert status == 202
    assert delivered(jp, first, [*edit, *votes[1:], {"item": rows[0]["id"]}])[1]["batch_id"] == answer["batch_id"]
    waiting = settled(jp, answer["batch_id"])
    assert (waiting.outcome, waiting.output["ingest"]["missing"]) == ("WaitingForDeliveries", [second])
    done = settled(jp, delivered(jp, second, [*edit, *votes[1:]])[1]["batch_id"])
    assert done.outcome == INGESTED, done
    found = done.output["ingest"]
    assert (found["rows"], found["reasons"], found["edits"]) == (33, {"missing_field": 1}, 1)
    jp.newest_labels = int(found["label_version"])
    assert jp.audit(done.output["batch_id"], events.LABELS_EDITED)
    machine = jp.target.state_machine_arn(naming.label_ingest_state_machine())
    sfn = jp.aws.client("stepfunctions")
    inputs = [sfn.describe_execution(executionArn=e["executionArn"])["input"]
              for e in sfn.list_executions(stateMachineArn=machine)["executions"]]
    assert len([i for i in inputs if answer["batch_id"] in i]) == 1
    jp.ingest(shop_labels.rows())  # the label that both got wrong is right again


def test_a_delivery_by_hand_is_checked_before_it_is_put(jp: Deployed, tmp_path: Path) -> None:
    task = task_file(tmp_path, shop_labels.rows(3), name="by-hand")
    label_tasks.send(jp.target, task, story=SLUG)
    file = tmp_path / "delivery.json"
    for body, says in (({"by": "stranger", "votes": [1]}, "was not asked"), ({"by": VENDORS[0]}, "list votes")):
        file.write_text(json.dumps(body))
        with pytest.raises(CliError, match=says):
            label_tasks.deliver(jp.target, file, story=SLUG, task="by-hand")
    with pytest.raises(CliError, match="no task none was sent out"):
        label_tasks.deliver(jp.target, file, story=SLUG, task="none")


def test_the_weekly_expiry_keeps_what_the_registry_names(jp: Deployed) -> None:
    """Nothing is 18 months old here; that old ones go and pinned ones stay is a unit test of the job."""
    name = naming.label_expiry_state_machine()
    sfn, machine = jp.aws.client("stepfunctions"), jp.target.state_machine_arn(name)
    jp.aws.local("POST", "schedules", {"name": name})
    [started] = eventually(lambda: sfn.list_executions(stateMachineArn=machine)["executions"])
    done = executions.wait(jp.target, started["executionArn"], timeout_s=PATIENCE_S)
    assert done.outcome == "Expired", done
    answer = done.output["expiry"]
    assert (answer["status"], answer["expired"][naming.LABEL_RECORDS]) == ("expired", 0)
    assert answer["kept_for_models"] >= 1

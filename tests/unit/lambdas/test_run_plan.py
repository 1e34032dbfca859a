"""What a retrain is told at its start."""

from __future__ import annotations

from typing import Any

import pytest

from contracts import naming, records
from contracts.stories import story
from lambdas.run_plan.handler import handler
from lambdas.run_plan.logic import Rooms, plan
from lambdas.shared.errors import InvalidInput
from tests.unit.lambdas.account import ARTIFACTS, LAKE, STORY, Account

ROOMS = Rooms(lake=LAKE, artifacts=ARTIFACTS)
POINTER = {"version": "4", "model_uri": "s3://artifacts/models/intent-classifier/abc/", "label_version_to": "9"}


def parameters(planned: dict[str, Any]) -> dict[str, str]:
    return {p["Name"]: p["Value"] for p in planned["pipeline_parameters"]}


def test_the_first_run_has_no_champion_and_takes_all_labels(account: Account, context: Any) -> None:
    planned = handler({"story": STORY, "mode": "retrain", "run_id": "run-1"}, context)
    assert planned["champion_version"] == "none"
    assert planned["label_version_above"] == "0"
    # SageMaker refuses an input prefix without objects, so a marker must be there
    prefix = naming.no_champion_prefix(STORY)
    assert planned["champion_uri"] == f"s3://{ARTIFACTS}/{prefix}"
    assert account.s3.list_objects_v2(Bucket=ARTIFACTS, Prefix=prefix)["KeyCount"] == 1


def test_a_later_run_is_compared_with_the_champion_and_needs_newer_labels(account: Account, context: Any) -> None:
    account.put_control(records.POINTER, **POINTER)
    event = {"story": STORY, "mode": "retrain", "run_id": "run-2", "hyperparameters": {"Epochs": "1"}}
    planned = handler(event, context)
    assert (planned["champion_version"], planned["label_version_above"]) == ("4", "9")
    assert planned["champion_uri"] == POINTER["model_uri"]
    assert account.s3.list_objects_v2(Bucket=ARTIFACTS)["KeyCount"] == 0
    found = parameters(planned)
    assert found["Epochs"] == "1"
    assert found["Seed"] == story(STORY).hyperparameters["seed"]
    assert found["ChampionVersion"] == "4"
    assert found["DatasetUri"] == planned["dataset_uri"] == f"s3://{LAKE}/datasets/{STORY}/run-2/"
    assert found["OutputUri"] == planned["output_uri"] == f"s3://{ARTIFACTS}/runs/{STORY}/run-2/"


def test_the_same_run_plans_the_same_and_another_run_something_else() -> None:
    def planned(run_id: str) -> dict[str, Any]:
        return plan(story(STORY), run_id=run_id, pointer=POINTER, rooms=ROOMS, hyperparameters={})

    assert planned("a") == planned("a")
    assert planned("a")["client_token"] != planned("b")["client_token"]
    assert planned("a")["freeze_job_name"] != planned("b")["freeze_job_name"]


def test_names_keep_sagemakers_limits_for_the_longest_execution_name() -> None:
    planned = plan(story(STORY), run_id="x" * 80, pointer=None, rooms=ROOMS, hyperparameters={})
    assert 32 <= len(planned["client_token"]) <= 128
    assert len(planned["freeze_job_name"]) <= 63
    assert all(len(p["Value"]) <= 1024 for p in planned["pipeline_parameters"])


def test_an_unknown_hyperparameter_names_the_allowed_ones(account: Account, context: Any) -> None:
    with pytest.raises(InvalidInput, match=r"unknown hyperparameters Epoch: allowed are BatchSize, .*Epochs"):
        handler({"story": STORY, "run_id": "r", "hyperparameters": {"Epoch": "1"}}, context)

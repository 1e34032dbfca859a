"""Every state machine: validated, retried, caught, and each AWS call known to AWS's own model."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore.model import ListShape, MapShape, OperationModel, Shape, StructureShape
from mlplatform.shared_functions import LEASE_TTL_S

from contracts import events, naming, workflow
from tests.infrastructure.conftest import ROOT, Assembly
from tests.infrastructure.definitions import machines, states

NAMES = (naming.retrain_state_machine("intent-classifier"), naming.release_state_machine("intent-classifier"),
         naming.label_ingest_state_machine(), naming.label_expiry_state_machine(),
         naming.feature_join_state_machine())
RETRAIN, RELEASE = NAMES[:2]
RECEIVE = naming.receive_state_machine("intent-classifier")  # in us and eu
PLACES = (*((name, "jp") for name in NAMES), (RECEIVE, "us"))
ENDS = ((RETRAIN, "jp", events.RETRAIN_OUTCOMES), (RECEIVE, "us", events.RECEIVE_OUTCOMES))
_SDK = "arn:aws:states:::aws-sdk:"
_BOTOCORE = {"emrserverless": "emr-serverless"}  # where States Language and botocore spell a service differently


@pytest.mark.parametrize("deployment", ["jp", "us", "eu"])
def test_the_validator_of_states_language_accepts_each_machine(
        assembly: Assembly, deployment: str, tmp_path: Path) -> None:
    validator = ROOT / "node_modules" / ".bin" / "asl-validator"
    assert validator.exists(), "run `npm ci`"
    for name, definition in machines(assembly, deployment).items():
        file = tmp_path / f"{name}.json"
        file.write_text(json.dumps(definition), "utf-8")
        run = subprocess.run([str(validator), "--json-path", str(file)], capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize(("name", "deployment"), PLACES)
def test_every_task_retries_with_backoff_and_catches_everything(
        assembly: Assembly, name: str, deployment: str) -> None:
    tasks = [(id_, s) for id_, s in states(machines(assembly, deployment)[name]) if s["Type"] == "Task"]
    assert tasks
    for id_, task in tasks:
        retried = [r for r in task["Retry"] if r.get("MaxAttempts", 3) > 0]
        assert any(r.get("BackoffRate", 1) > 1 for r in retried), id_
        assert task["Catch"][-1]["ErrorEquals"] == ["States.ALL"], id_


@pytest.mark.parametrize(("name", "deployment"), PLACES)
def test_every_state_is_reached_and_every_target_exists(assembly: Assembly, name: str, deployment: str) -> None:
    definition = machines(assembly, deployment)[name]
    seen, ahead = set(), [definition["StartAt"]]
    while ahead:
        id_ = ahead.pop()
        if id_ in seen:
            continue
        seen.add(id_)
        state = definition["States"][id_]
        ahead += [state[k] for k in ("Next", "Default") if k in state]
        ahead += [rule["Next"] for key in ("Catch", "Choices") for rule in state.get(key, [])]
    assert seen == set(definition["States"])


def _operation(resource: str) -> OperationModel:
    service, action = resource.removeprefix(_SDK).split(":")
    model = botocore.session.get_session().get_service_model(_BOTOCORE.get(service, service))
    return model.operation_model(action[0].upper() + action[1:])


def _pascal(name: str) -> str:
    """As States Language spells a member; some services begin theirs in lower case."""
    return name[:1].upper() + name[1:]


def _members(shape: StructureShape) -> dict[str, Shape]:
    return {_pascal(name): member for name, member in shape.members.items()}


def _check(shape: Shape, value: Any, where: str) -> None:
    """Every member is known and none that AWS demands is missing; computed values are taken on trust."""
    if isinstance(shape, StructureShape) and isinstance(value, dict):
        given = {key.removesuffix(".$"): (key, v) for key, v in value.items()}
        members = _members(shape)
        unknown = given.keys() - members.keys()
        assert not unknown, f"{where}: unknown members {sorted(unknown)}"
        missing = {_pascal(name) for name in shape.required_members} - given.keys()
        assert not missing, f"{where}: missing members {sorted(missing)}"
        for member, (key, v) in given.items():
            if not key.endswith(".$"):
                _check(members[member], v, f"{where}.{member}")
    elif isinstance(shape, ListShape):
        assert isinstance(value, list), where
        for i, item in enumerate(value):
            _check(shape.member, item, f"{where}[{i}]")
    elif isinstance(shape, MapShape):
        assert isinstance(value, dict), where
    else:
        expected: dict[str, tuple[type, ...]] = {
            "string": (str,), "integer": (int,), "long": (int,), "boolean": (bool,), "double": (int, float),
            "timestamp": (str,)}
        assert isinstance(value, expected[shape.type_name]), f"{where} must be a {shape.type_name}, is {value!r}"
        if getattr(shape, "enum", None):
            assert value in shape.enum, f"{where}: {value!r} is none of {shape.enum}"


@pytest.mark.parametrize("name", NAMES)
def test_every_sdk_call_and_its_parameters_are_known_to_botocore(assembly: Assembly, name: str) -> None:
    calls = [(id_, s) for id_, s in states(machines(assembly)[name]) if s.get("Resource", "").startswith(_SDK)]
    assert calls
    for id_, state in calls:
        shape = _operation(state["Resource"]).input_shape
        assert shape is not None
        _check(shape, state["Parameters"], id_)


def test_the_check_of_sdk_calls_sees_a_wrong_member_and_a_missing_one() -> None:
    shape = _operation(f"{_SDK}sagemaker:createEndpoint").input_shape
    assert shape is not None
    with pytest.raises(AssertionError, match="unknown members"):
        _check(shape, {"EndpointName": "a", "EndpointConfigName": "b", "Config": 1}, "x")
    with pytest.raises(AssertionError, match="missing members"):
        _check(shape, {"EndpointName": "a"}, "x")


def test_results_of_sdk_calls_are_read_by_names_that_aws_answers_with(assembly: Assembly) -> None:
    for definition in machines(assembly).values():
        for id_, state in states(definition):
            if state.get("Resource", "").startswith(_SDK) and "ResultSelector" in state:
                shape = _operation(state["Resource"]).output_shape
                assert isinstance(shape, StructureShape)
                for path in state["ResultSelector"].values():
                    assert path.removeprefix("$.").split(".")[0] in _members(shape), id_


def test_each_outcome_is_an_end_state_of_its_own_name(assembly: Assembly) -> None:
    for name, deployment, outcomes in ENDS:
        definition = machines(assembly, deployment)[name]["States"]
        for outcome in outcomes:
            assert definition[outcome]["Type"] == ("Fail" if outcome == events.FAILED else "Succeed")


def test_every_end_after_the_lease_is_recorded_and_gives_the_lease_back(assembly: Assembly) -> None:
    for name, deployment, outcomes in ENDS:
        definition = machines(assembly, deployment)[name]["States"]
        ends = [o for o in outcomes if o != events.FAILED]
        for end in ends:
            assert definition[f"As{end}"]["Next"] == "RecordOutcome"
        assert definition["RecordOutcome"]["Next"] == "GiveLeaseBack"
        assert {rule["StringEquals"]: rule["Next"] for rule in definition["End"]["Choices"]} == {e: e for e in ends}


@pytest.mark.parametrize(("name", "deployment", "step"), [
    (RETRAIN, "jp", "PublishSignedCopy"), (RETRAIN, "jp", "Release"), (RETRAIN, "jp", "Promote"),
    (RECEIVE, "us", "Release"), (RECEIVE, "us", "Promote")])
def test_switches_are_read_again_before_every_irreversible_step(
        assembly: Assembly, name: str, deployment: str, step: str) -> None:
    definition = machines(assembly, deployment)[name]["States"]

    def before(target: str) -> set[str]:
        return {id_ for id_, s in definition.items()
                if s.get("Next") == target or any(r["Next"] == target for r in s.get("Choices", []))}

    choices = before(step)
    if definition[next(iter(choices))]["Type"] == "Pass":  # MarkRelease
        choices = before(next(iter(choices)))
    assert len(choices) == 1
    readers = before(choices.pop())
    assert len(readers) == 1
    assert "KillSwitches" in str(definition[readers.pop()]["Parameters"])


def test_a_roll_back_reads_no_switch_and_pre_empts(assembly: Assembly) -> None:
    definition = machines(assembly)[RETRAIN]["States"]
    path, id_ = [], "TakeLeaseNow"
    while id_ not in events.OUTCOMES and "Next" in definition[id_]:
        path.append(id_)
        id_ = definition[id_]["Next"]
    assert definition["TakeLeaseNow"]["Parameters"]["Payload"]["preempt"] is True
    assert "KillSwitches" not in json.dumps([definition[p] for p in path])
    assert path[:3] == ["TakeLeaseNow", "RollBackToPrevious", "PromotePrevious"]


def test_home_announces_what_its_pointer_names_and_ends_as_it_would_have_when_it_can_t(assembly: Assembly) -> None:
    definition = machines(assembly)[RETRAIN]["States"]
    for step in ("Promote", "PromotePrevious"):
        assert definition[step]["Next"] == "Announce"
    assert {rule["Next"] for rule in definition["Announce"]["Catch"]} == {"NotifyNotAnnounced"}
    assert definition["NotifyNotAnnounced"]["Next"] == definition["Announce"]["Next"] == "Announced"
    assert definition["Announced"]["Choices"][0] == {
        "Variable": "$.input.mode", "StringEquals": "rollback", "Next": "AsRolledBack"}
    assert definition["Announced"]["Default"] == "AsPromoted"
    assert "Announce" not in machines(assembly, "us")[RETRAIN]["States"]


def test_only_receiving_regions_receive_and_every_refusal_has_an_end_of_its_own(assembly: Assembly) -> None:
    definition = machines(assembly, "us")[RECEIVE]["States"]
    for step in ("ReadHome", "CopyFiles"):
        caught = definition[step]["Catch"][0]
        assert (set(caught["ErrorEquals"]), caught["Next"]) == (
            {"SignatureInvalid", "OlderVersion", "EvidenceMissing"}, "ReadRefusal")
        assert set(caught["ErrorEquals"]) <= set(definition[step]["Retry"][0]["ErrorEquals"])
    assert definition["ReadRefusal"]["Next"] == "AsRefused"
    assert RECEIVE not in machines(assembly)


def test_a_failure_notification_carries_names_and_never_a_cause(assembly: Assembly) -> None:
    for definition in machines(assembly).values():
        for id_, state in states(definition):
            if state.get("Resource", "").endswith("sns:publish"):
                assert "Cause" not in state["Parameters"]["Message.$"], id_


def test_only_home_retrains_and_only_home_is_scheduled(assembly: Assembly) -> None:
    for deployment, home in (("jp", True), ("us", False), ("eu", False)):
        definition = machines(assembly, deployment)[RETRAIN]["States"]
        target = next(r["Next"] for r in definition["ChooseMode"]["Choices"] if r["StringEquals"] == "retrain")
        assert target == ("TakeLease" if home else "NotHome")
        schedules = assembly.resources("AWS::Scheduler::Schedule", deployment=deployment).values()
        zones = [s["Properties"]["ScheduleExpressionTimezone"] for s in schedules
                 if s["Properties"]["Name"].endswith("-retrain")]
        assert zones == (["Asia/Tokyo"] if home else [])


def test_polls_wait_for_what_the_contract_says(assembly: Assembly) -> None:
    waits = {id_: s["Seconds"] for d in machines(assembly).values() for id_, s in states(d) if s["Type"] == "Wait"}
    assert waits == {"WaitFreeze": workflow.FREEZE_POLL_S, "WaitPipeline": workflow.PIPELINE_POLL_S,
                     "WaitRelease": workflow.RELEASE_POLL_S, "WaitShadow": workflow.SHADOW_POLL_S,
                     "WaitIngest": workflow.INGEST_POLL_S, "WaitExpiry": workflow.INGEST_POLL_S,
                     "WaitJoin": workflow.JOIN_POLL_S}


def test_logs_never_hold_execution_data(assembly: Assembly) -> None:
    for machine in assembly.resources("AWS::StepFunctions::StateMachine").values():
        assert machine["Properties"]["LoggingConfiguration"]["IncludeExecutionData"] is False
        assert machine["Properties"]["TracingConfiguration"] == {"Enabled": True}
        assert machine["Properties"]["EncryptionConfiguration"]["Type"] == "CUSTOMER_MANAGED_KMS_KEY"


def test_the_planner_hears_whether_a_release_is_an_undo(assembly: Assembly) -> None:
    assert machines(assembly)[RELEASE]["States"]["PlanRelease"]["Parameters"]["Payload"]["undo.$"] == "$.undo"
    children = {id_: s["Parameters"]["Input"] for id_, s in states(machines(assembly)[RETRAIN])
                if "startExecution" in s.get("Resource", "")}
    assert {id_: given["undo"] for id_, given in children.items()} == {
        "Release": False, "Reconcile": False, "RollBackToPrevious": False, "UndoRelease": True, "RollBackServing": True,
        "ConfirmChampion": True}


def test_a_child_is_started_again_when_it_was_not_started_and_never_when_it_failed(assembly: Assembly) -> None:
    """States.TaskFailed stands for both, and the first rule that fits counts."""
    children = [s for _, s in states(machines(assembly)[RETRAIN]) if "startExecution" in s.get("Resource", "")]
    assert len(children) == 6
    for child in children:
        start, failed, *_ = child["Retry"]
        assert "StepFunctions.AWSStepFunctionsException" in start["ErrorEquals"]
        assert start["MaxAttempts"] > 0
        assert (failed["ErrorEquals"], failed["MaxAttempts"]) == (["States.TaskFailed"], 0)
        assert "$$.Execution.Name" in child["Parameters"]["Name.$"], "a run that is started again needs a new child"


def test_every_release_plans_under_the_lease_of_the_run_that_asked_for_it(assembly: Assembly) -> None:
    release = machines(assembly)[RELEASE]["States"]["PlanRelease"]
    assert release["Parameters"]["Payload"]["token.$"] == "$.token"
    assert "LeaseLost" in release["Retry"][0]["ErrorEquals"]
    assert release["Retry"][0]["MaxAttempts"] == 0
    children = [s["Parameters"]["Input"] for _, s in states(machines(assembly)[RETRAIN])
                if "startExecution" in s.get("Resource", "")]
    assert {given["token.$"] for given in children} == {"$.lease.token"}


def test_a_run_that_began_before_runs_passed_their_token_on_is_planned_without_one(assembly: Assembly) -> None:
    machine = machines(assembly)[RELEASE]
    first = machine["States"][machine["StartAt"]]
    begins = []
    while first["Type"] == "Pass":
        begins.append(first["ResultPath"])
        first = machine["States"][first["Next"]]
    assert begins == ["$.canary", "$.shadow", "$.watch"]
    assert first["Choices"] == [{"Variable": "$.token", "IsPresent": True, "Next": "PlanRelease"}]
    assert machine["States"][first["Default"]] == {
        "Type": "Pass", "Result": None, "ResultPath": "$.token", "Next": "PlanRelease"}


def test_an_arn_for_grants_refuses_a_token_which_fn_sub_could_not_hold() -> None:
    from mlplatform.policies import ACCOUNT, allow, arn

    assert allow("x:Y", on=arn("x", "z/*"))["Resource"] == [
        {"Fn::Sub": "arn:${AWS::Partition}:x:${AWS::Region}:${AWS::AccountId}:z/*"}]
    with pytest.raises(ValueError, match="use token_arn"):
        arn("x", f"z/{ACCOUNT}")


def test_a_release_waits_for_guardrails_no_longer_than_its_lease_lives_and_then_names_what_rings(
        assembly: Assembly) -> None:
    release = machines(assembly)[RELEASE]["States"]
    patient = {r["ErrorEquals"][0]: r["IntervalSeconds"] * r["MaxAttempts"] for r in release["PlanRelease"]["Retry"]
               if r.get("BackoffRate") == 1.0}
    assert patient.keys() == {"EndpointBusy", "GuardrailRings"}
    assert sum(patient.values()) <= 3 * 3_600 < LEASE_TTL_S
    caught = {e: c["Next"] for c in release["PlanRelease"]["Catch"] for e in c["ErrorEquals"]}
    assert caught["GuardrailRings"] == "ReadWhatRings"
    assert release["GuardrailRings"] == {
        "Type": "Fail", "Error": "GuardrailRings", "CausePath": "$.error.said.errorMessage"}


def test_a_release_that_heeds_switches_reads_them_after_its_last_wait_and_before_it_touches_anything(
        assembly: Assembly) -> None:
    release = machines(assembly)[RELEASE]["States"]
    heeded = {rule["Next"] for rule in release["ChooseAction"]["Choices"] if rule["Variable"] == "$.heed_switches"}
    assert heeded == {"ReadSwitchesFirst"}
    assert "KillSwitches" in str(release["ReadSwitchesFirst"]["Parameters"])
    assert release["ReadSwitchesFirst"]["Catch"][-1]["Next"] == release["MayBegin"]["Default"] == "SwitchedOff"


def test_a_look_after_a_creation_that_was_not_answered_outlives_a_throttle(assembly: Assembly) -> None:
    """SageMaker's "not found" and its throttle have one name; nothing comes after this look that would settle which."""
    release = machines(assembly)[RELEASE]["States"]
    for creation, look in (("CreateModel", "ConfirmModel"), ("CreateEndpointConfig", "ConfirmEndpointConfig"),
                           ("CreateShadowConfig", "ConfirmEndpointConfig")):
        assert {caught["Next"] for caught in release[creation]["Catch"]} == {look}
        given_up = {e for rule in release[look]["Retry"] if rule["MaxAttempts"] == 0 for e in rule["ErrorEquals"]}
        assert "SageMaker.SageMakerException" not in given_up
        assert any("States.TaskFailed" in rule["ErrorEquals"] for rule in release[look]["Retry"])


def test_of_a_never_promoted_endpoint_only_that_it_is_not_found_means_that_it_is_gone(assembly: Assembly) -> None:
    release = machines(assembly)[RELEASE]["States"]
    for call in ("FindUnpromoted", "DeleteUnpromoted"):
        assert {caught["Next"] for caught in release[call]["Catch"]} == {"IsItAbsent"}
    (absent,) = release["IsItAbsent"]["Choices"]
    assert {"Variable": "$.error.Cause", "StringMatches": "*Could not find*"} in absent["And"]
    assert (absent["Next"], release["IsItAbsent"]["Default"]) == ("NothingToRelease", "ReleaseFailed")

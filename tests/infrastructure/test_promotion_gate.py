"""The promotion gate in the definitions: the canary's judge at every tick, and a person where the contract asks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from mlplatform import leased_run
from mlplatform.approval import ASK, ask_for_approval

from contracts import events, naming
from contracts.stories.intent_classifier import INTENT_CLASSIFIER
from tests.infrastructure.conftest import Assembly
from tests.infrastructure.definitions import machines

SLUG = INTENT_CLASSIFIER.slug
RETRAIN, RELEASE = naming.retrain_state_machine(SLUG), naming.release_state_machine(SLUG)
States = dict[str, dict[str, Any]]


def rules(state: dict[str, Any]) -> Iterator[tuple[dict[str, object], str]]:
    """(variable -> wanted value, where it leads) for each rule of a choice."""
    for rule in state.get("Choices", []):
        yield {part["Variable"]: next(v for k, v in part.items() if k not in ("Variable", "Next"))
               for part in rule.get("And", [rule])}, rule["Next"]


def leads(state: dict[str, Any], data: dict[str, object]) -> str:
    return next((next_ for wanted, next_ in rules(state) if wanted.items() <= data.items()), state["Default"])


def test_a_canary_is_judged_at_every_tick_that_no_switch_forbids(assembly: Assembly) -> None:
    release = machines(assembly)[RELEASE]["States"]
    assert leads(release["ReleaseState"], {"$.check.state": "updating", "$.heed_switches": True}) == "ReadSwitches"
    may = {"$.switches.may_release": True, "$.canary.verdict": "no_worse"}
    assert leads(release["MayGoOn"], may) == "JudgeCanary"
    assert leads(release["MayGoOn"], {**may, "$.switches.may_release": False}) == "AbortCanary"
    assert leads(release["IsItWorse"], {"$.canary.verdict": "worse"}) == "AbortCanary"
    assert leads(release["IsItWorse"], {"$.canary.verdict": "no_evidence"}) == "WaitRelease"
    assert {caught["Next"] for caught in release["JudgeCanary"]["Catch"]} == {"WaitRelease"}


def test_a_verdict_stands_and_a_late_abort_never_counts_as_released(assembly: Assembly) -> None:
    release = machines(assembly)[RELEASE]["States"]
    worse = {"$.switches.may_release": True, "$.canary.verdict": "worse", "$.heed_switches": True}
    assert leads(release["MayGoOn"], worse) == "AbortCanary"
    assert leads(release["ReleaseState"], {**worse, "$.check.state": "serving"}) == "CanaryWorse"
    assert leads(release["ReleaseState"], {"$.check.state": "serving", "$.canary.verdict": "no_worse"}) == "Released"
    going_back = {**worse, "$.check.state": "updating", "$.check.reason": "RollingBack"}
    assert leads(release["ReleaseState"], going_back) == "WaitRelease", "aborted already: the alarm need not ring on"
    assert leads(release["WhyRolledBack"], worse) == "CanaryWorse"
    assert leads(release["WhyRolledBack"], {"$.canary.verdict": "no_worse"}) == "ReleaseRolledBack"
    assert release["CanaryWorse"] == {"Type": "Fail", "Error": "CanaryWorse", "CausePath": "$.canary.said"}


def test_a_shadow_is_watched_under_the_kill_switches_until_it_is_worse_or_over(assembly: Assembly) -> None:
    release = machines(assembly)[RELEASE]["States"]
    shadow = {"$.plan.phase": "shadow", "$.check.state": "serving", "$.heed_switches": True}
    assert leads(release["ReleaseState"], shadow) == "ReadSwitchesInShadow"
    assert leads(release["ReleaseState"], {**shadow, "$.plan.phase": "canary"}) == "Released"
    starting = {"$.switches.may_release": True, "$.plan.phase": "shadow"}
    assert leads(release["MayGoOn"], starting) == "WaitRelease", "there is no canary to judge yet"
    assert leads(release["MayGoOn"], {**starting, "$.switches.may_release": False}) == "AbortCanary"
    assert leads(release["MayWatch"], {"$.switches.may_release": True}) == "JudgeShadow"
    assert leads(release["MayWatch"], {"$.switches.may_release": False}) == "SwitchedOff"
    assert {caught["Next"] for caught in release["ReadSwitchesInShadow"]["Catch"]} == {"SwitchedOff"}
    assert leads(release["IsShadowWorse"], {"$.shadow.verdict": "worse"}) == "ShadowWorse"
    assert leads(release["IsShadowWorse"], {"$.shadow.verdict": "no_evidence"}) == "CountLook"
    assert {caught["Next"] for caught in release["JudgeShadow"]["Catch"]} == {"CountLook"}, "a lost look counts, too"
    assert release["ShadowWorse"] == {"Type": "Fail", "Error": "ShadowWorse", "CausePath": "$.shadow.said"}


def test_after_its_shadow_a_release_is_planned_again_with_all_that_a_plan_asks_for(assembly: Assembly) -> None:
    release = machines(assembly)[RELEASE]["States"]
    assert leads(release["WatchedEnough"], {"$.watch.looks": "$.plan.shadow.looks"}) == "ShadowIsOver"
    assert release["WatchedEnough"]["Default"] == "WaitShadow"
    assert release["ShadowIsOver"]["Result"] == {"over": True}
    assert release["ShadowIsOver"]["Next"] == "PlanRelease"
    asked = release["PlanRelease"]["Parameters"]["Payload"]
    assert asked["shadowed.$"] == "$.watch.over"
    assert asked["token.$"] == "$.token", "a roll-back that took the lease meanwhile is not undone"


def test_only_a_shadows_config_names_a_shadow(assembly: Assembly) -> None:
    """SageMaker takes no empty list."""
    release = machines(assembly)[RELEASE]["States"]
    assert leads(release["WhichConfig"], {"$.plan.phase": "shadow"}) == "CreateShadowConfig"
    assert leads(release["WhichConfig"], {"$.plan.phase": "canary"}) == "CreateEndpointConfig"
    with_shadow, without = (release[name]["Parameters"] for name in ("CreateShadowConfig", "CreateEndpointConfig"))
    assert with_shadow.keys() - without.keys() == {"ShadowProductionVariants.$"}


def test_a_worse_version_is_rejected_before_its_run_ends_as_aborted(assembly: Assembly) -> None:
    for deployment, machine in (("jp", RETRAIN), ("us", naming.receive_state_machine(SLUG))):
        states = machines(assembly, deployment)[machine]["States"]
        path = ["ReadVerdict"]
        while path[-1] != "WhereWorse":
            path.append(states[path[-1]]["Next"])
        assert path[2:] == ["RejectVersion", "ConfirmChampion", "NotifyWorse", "WhereWorse"]
        where = states["WhereWorse"]
        assert leads(where, {"$.worse.error": "ShadowWorse"}) == f"As{events.SHADOW_WORSE}"
        assert leads(where, {"$.worse.error": "CanaryWorse"}) == f"As{events.CANARY_ABORTED}"
        for error in ("ShadowWorse", "CanaryWorse"):
            assert any(rule["And"][1].get("StringMatches") == f'*"{error}"*' and rule["Next"] == "ReadVerdict"
                       for rule in states["WasItSwitchedOff"]["Choices"] if "And" in rule)


def test_nobody_is_asked_unless_the_contract_says_so(assembly: Assembly) -> None:
    assert INTENT_CLASSIFIER.approval_within_s is None
    assert ASK not in machines(assembly)[RETRAIN]["States"]


def asking() -> States:
    return leased_run.release_and_promote(slug=SLUG, approval_within_s=600, brings={}, next_="AsPromoted",
                                          on_error="Failure")


def test_a_story_that_asks_releases_only_what_a_person_approved_and_the_audit_trail_knows() -> None:
    states = asking()
    assert leads(states["MayRelease"], {"$.switches.may_release": True}) == ASK
    targets = {name: [state.get("Next"), state.get("Default"), *(to for _, to in rules(state))]
               for name, state in states.items()}
    assert [name for name, to in targets.items() if "MarkRelease" in to] == ["RecordApproval"]
    assert states["Approved"]["Choices"] == [{"Next": "RecordApproval", "And": [
        {"Variable": "$.approval.approved", "IsPresent": True},
        {"Variable": "$.approval.approved", "BooleanEquals": True}]}]
    assert states["Approved"]["Default"] == "TurnDownVersion"
    assert states["AskApproval"]["TimeoutSeconds"] == 600
    caught = {error: catch["Next"] for catch in states["AskApproval"]["Catch"] for error in catch["ErrorEquals"]}
    assert caught == {"States.Timeout": "NobodyAnswered", "States.ALL": "Failure"}
    assert "States.Timeout" in states["AskApproval"]["Retry"][0]["ErrorEquals"]


def test_the_machine_that_asks_may_write_one_parameter() -> None:
    statement = ask_for_approval(SLUG)
    assert statement["Action"] == ["ssm:PutParameter"]
    assert statement["Resource"] == [{"Fn::Sub": "arn:${AWS::Partition}:ssm:${AWS::Region}:${AWS::AccountId}:parameter"
                                                 f"/mangaassist/approvals/{SLUG}"}]


@pytest.mark.parametrize("within_s", [0, 299, 43_201])
def test_a_person_gets_neither_no_time_nor_longer_than_a_run_lives(within_s: int) -> None:
    with pytest.raises(ValueError, match=f"approval_within_s must be 300 to 43200, or None, got {within_s}"):
        replace(INTENT_CLASSIFIER, approval_within_s=within_s)

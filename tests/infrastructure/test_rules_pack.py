"""The pack as a whole: what a violation says, what an acknowledgement covers, and that the real app is under it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from mlplatform.rules import RULES, Acknowledged, RulePack
from mlplatform.rules.plugin import below_stage, findings
from mlplatform.rules.templates import Deployed, Stack

from contracts.deployments import DEPLOYMENTS, Deployment
from contracts.stories import CONTRACTS
from stacks.rule_acknowledgements import RULE_ACKNOWLEDGEMENTS
from tests.infrastructure import (
    test_rules_alarms,
    test_rules_encryption,
    test_rules_residency,
    test_rules_serving,
    test_rules_stories,
    test_rules_workflows,
)
from tests.infrastructure.conftest import ROOT, Assembly, context
from tests.infrastructure.rule_cases import violations
from tests.infrastructure.rules_page import PAGE, page

_QUEUE = {"Queue": {"Type": "AWS::SQS::Queue", "Properties": {"KmsMasterKeyId": "alias/aws/sqs"}}}
_CASES = [case for module in (test_rules_alarms, test_rules_encryption, test_rules_residency, test_rules_serving,
                              test_rules_stories, test_rules_workflows) for case in module.CASES]


def test_a_violation_says_which_rule_which_resource_why_and_how_to_mend(tmp_path: Path) -> None:
    (violation,) = violations(tmp_path, "EncryptedWithOwnKey", _QUEUE)
    assert (violation.rule, violation.path, violation.logical_id) == ("EncryptedWithOwnKey", "Tiny/Queue", "Queue")
    assert violation.says == (
        "EncryptedWithOwnKey at Tiny/Queue (Queue), Properties.KmsMasterKeyId: must be the deployment's own symmetric "
        "key, is alias/aws/sqs. Why: only a key of the deployment lets its owner see, limit and end every reading; "
        "AWS's own key does not")
    assert violation.fix.startswith("pass the construct the deployment's DataKey")
    assert violation.fix.endswith("gets a row with its reason in stacks/rule_acknowledgements.py")


def test_every_rule_has_a_case_that_passes_and_one_that_breaks_it() -> None:
    assert {case.rule for case in _CASES if case.passes and case.breaks} == {rule.id for rule in RULES}
    assert len({rule.id for rule in RULES}) == len(RULES)


@pytest.mark.parametrize(("finding", "at", "left"), [
    ("EncryptedWithOwnKey", "Queue", 0), ("EncryptedWithOwnKey", "Que*", 0),
    ("EncryptedWithOwnKey", "Topic", 1), ("AlarmLanguage", "Queue", 1)])
def test_an_acknowledgement_covers_its_own_rule_at_its_own_place(
        finding: str, at: str, left: int, tmp_path: Path) -> None:
    row = Acknowledged(finding=finding, at=(at,), because="as the test says")
    assert len(violations(tmp_path, "EncryptedWithOwnKey", _QUEUE, acknowledged=[row])) == left


def test_cdk_s_own_acknowledgements_do_not_silence_a_rule(tmp_path: Path) -> None:
    from aws_cdk import Acknowledgment, App, CfnResource, Environment, Stack, Validations

    app = App(outdir=str(tmp_path), analytics_reporting=False, builtin_cloud_formation_validation=False)
    queue = CfnResource(Stack(app, "Tiny", env=Environment(region="ap-northeast-1")), "Queue", type="AWS::SQS::Queue")
    Validations.of(queue).acknowledge(Acknowledgment(id="MangaAssist::EncryptedWithOwnKey", reason="none"))
    Validations.of(app).add_plugins(RulePack(RULES))
    with pytest.raises(RuntimeError, match="EncryptedWithOwnKey at Tiny/Queue"):
        app.synth()


def test_a_stack_without_a_region_of_ours_is_refused_by_name(tmp_path: Path) -> None:
    from aws_cdk import App, Stack, Validations

    app = App(outdir=str(tmp_path), analytics_reporting=False, builtin_cloud_formation_validation=False)
    Stack(app, "Anywhere")
    Validations.of(app).add_plugins(RulePack(RULES))
    with pytest.raises(RuntimeError, match="Anywhere is in the region None: allowed are ap-northeast-1, us-east-1"):
        app.synth()


def _deployed(assembly: Assembly, deployment: Deployment) -> Deployed:
    files = [path for (name, _), path in assembly.files.items() if name == deployment.name]
    return Deployed(deployment, tuple(Stack(f"{deployment.name}/{f.name}", deployment.region, f) for f in files),
                    tuple(CONTRACTS.values()))


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda d: d.name)
def test_findings_in_the_real_app_and_acknowledgements_cover_each_other(
        assembly: Assembly, deployment: Deployment) -> None:
    found = {(rule.id, below_stage(f)) for rule, f in findings(RULES, _deployed(assembly, deployment))}
    assert {f for f in found if not any(row.covers(*f) for row in RULE_ACKNOWLEDGEMENTS)} == set()


def test_no_acknowledgement_is_stale_in_every_deployment(assembly: Assembly) -> None:
    """What only home has, or only the others, is stale nowhere as long as one of them has it."""
    found = {(rule.id, below_stage(f)) for deployment in DEPLOYMENTS
             for rule, f in findings(RULES, _deployed(assembly, deployment))}
    stale = [(row.finding, pattern) for row in RULE_ACKNOWLEDGEMENTS for pattern in row.at
             if not any(replace(row, at=(pattern,)).covers(*f) for f in found)]
    assert stale == [], "stale acknowledgements: remove them"


def test_the_real_app_fails_on_one_resource_that_breaks_a_rule(tmp_path: Path) -> None:
    from aws_cdk import App, CfnResource

    from stacks.deployment import deploy_all

    app = App(context=context(deployment="eu"), outdir=str(tmp_path), analytics_reporting=False)
    (stage,) = deploy_all(app)
    CfnResource(stage.stacks[0], "Elsewhere", type="AWS::SNS::Topic", properties={
        "KmsMasterKeyId": "arn:aws:kms:ap-northeast-1:1:key/a"})
    with pytest.raises(RuntimeError, match=r"ResidencyOwnRegion at eu/Data/Elsewhere \(Elsewhere\)") as raised:
        app.synth()
    assert str(raised.value).count("FATAL") == 2  # that, and a key that is not its own


def test_the_page_of_the_rules_is_as_the_rules_are(request: pytest.FixtureRequest) -> None:
    written = PAGE.read_text("utf-8")
    if request.config.getoption("--update-snapshots"):
        PAGE.write_text(page(written), "utf-8")
    assert page(PAGE.read_text("utf-8")) == PAGE.read_text("utf-8"), "run pytest with --update-snapshots"


def _calls(*folders: str) -> Iterator[tuple[str, ast.Call]]:
    for file in (f for folder in folders for f in sorted((ROOT / folder).rglob("*.py"))):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                yield f"{file.relative_to(ROOT)}:{node.lineno}", node


def test_handlers_switch_powertools_capture_off_by_name_for_it_is_on_by_default() -> None:
    captured = 0
    for where, call in _calls("lambdas", "fabric"):
        options = {k.arg: getattr(k.value, "value", "computed") for k in call.keywords}
        name = call.func.attr if isinstance(call.func, ast.Attribute) else ""
        if name in ("capture_lambda_handler", "capture_method"):
            captured += 1
            assert options.get("capture_response") is options.get("capture_error") is False, where
        if name == "inject_lambda_context":
            assert options.get("log_event", False) is False, where
    assert captured

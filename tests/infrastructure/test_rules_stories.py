"""A story without its flags, its schema version or its audit sink can't be deployed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from contracts.stories.intent_classifier import INTENT_CLASSIFIER
from tests.infrastructure.rule_cases import Body, Case, check, machine, task, violations

_STORIES = (INTENT_CLASSIFIER,)
_NAMES = ("global_ml_freeze", "intent_classifier_promotion_enabled", "intent_classifier_prefilter_enabled")
_FREEZES = {"Entrypoint": ["python", "-m", "model_code.platform.freeze_dataset"]}


def _flag(name: str, **more: Any) -> Body:
    return {"Type": "AWS::SSM::Parameter", "DeletionPolicy": "Retain", "Properties": {
        "Name": f"/mangaassist/flags/{name}", "Type": "String", "Value": "true", "AllowedPattern": "^(true|false)$",
        **more}}


def _flags(**more: Any) -> dict[str, Body]:
    return {f"Flag{i}": _flag(name, **(more if i == 1 else {})) for i, name in enumerate(_NAMES)}


def _retrain(parameters: dict[str, Any]) -> Body:
    return machine("mangaassist-intent-classifier-retrain", states={"Do": task(Parameters=parameters)},
                   substitutions={"Audit": {"Fn::GetAtt": ["Audit", "Arn"]}})


def _function(name: str, table: Any) -> Body:
    return {"Type": "AWS::Lambda::Function", "Properties": {
        "FunctionName": name, "Environment": {"Variables": {"AUDIT_TABLE": table}}}}


def _table(*denied: str) -> Body:
    statement = {"Effect": "Deny", "Action": list(denied), "Resource": "*", "Principal": "*"}
    return {"Type": "AWS::DynamoDB::Table", "Properties": {
        "TableName": "mangaassist-audit-jp", "ResourcePolicy": {"PolicyDocument": {"Statement": [statement]}}}}


def _audited(**instead: Body) -> dict[str, Body]:
    sink = {"Ref": "Table"}
    return {"Table": _table("dynamodb:UpdateItem", "dynamodb:DeleteItem"), "Audit": _function("audit", sink),
            "Promote": _function("mangaassist-intent-classifier-promote", sink),
            "Machine": _retrain({"FunctionName": "${Audit}"}), **instead}


CASES = (
    Case(rule="StoryFlags", stories=_STORIES, passes=_flags(),
         breaks={
             "intent_classifier_prefilter_enabled: intent-classifier lacks this flag": {
                 id_: flag for id_, flag in _flags().items() if id_ != "Flag2"},
             "global_ml_freeze: intent-classifier lacks": {"Machine": _retrain({})},
             "intent_classifier_promotion_enabled would be reset": _flags(Tags={"team": "ml"}),
             "'maybe' is no switch position": _flags(Value="maybe"),
             "goes with its stack": {**_flags(), "Flag0": {**_flag(_NAMES[0]), "DeletionPolicy": "Delete"}},
         }),
    Case(rule="StoryDatasetSchema", stories=_STORIES, passes={"Machine": _retrain(_FREEZES)},
         breaks={"freezes no data set": {"Machine": _retrain({})}}),
    Case(rule="StoryAuditSink", stories=_STORIES, passes=_audited(),
         breaks={
             "no state of intent-classifier writes to the audit table": _audited(
                 Machine=_retrain({"FunctionName": "arn:aws:lambda:::function:other"})),
             "promotes without a record": _audited(
                 Promote=_function("mangaassist-intent-classifier-promote", "another-table")),
             "does not deny updates and deletes": _audited(Table=_table("dynamodb:UpdateItem")),
         }),
)


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.rule)
def test_the_rule_lets_pass_and_breaks(case: Case, tmp_path: Path) -> None:
    check(case, tmp_path)


def test_a_schema_version_that_nobody_reads_is_named_with_the_readable_ones(tmp_path: Path) -> None:
    story = replace(INTENT_CLASSIFIER, dataset_schema_version=99)
    found = violations(tmp_path, "StoryDatasetSchema", {"Machine": _retrain(_FREEZES)}, stories=(story,))
    assert ["intent-classifier has 99: readable are 1" in v.says for v in found] == [True]

"""The rule pack as a validation plugin: `cdk synth` fails on what it finds, and says how to mend it.

CDK hands a plugin the templates after they are written, all deployments at once. The pack reads
each file once and asks CDK nothing more, so that it costs a small part of a synth.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import jsii
from aws_cdk import (
    IPolicyValidationContext,
    IPolicyValidationPlugin,
    PolicyValidationPluginReport,
    PolicyViolatingResource,
    PolicyViolation,
)

from contracts.deployments import DEPLOYMENTS
from contracts.story import StoryContract
from mlplatform.rules.rule import Acknowledged, Finding, Rule
from mlplatform.rules.templates import Deployed, Stack

NAME = "MangaAssist"
ACKNOWLEDGEMENTS = "stacks/rule_acknowledgements.py"
_REGIONS = tuple(d.region for d in DEPLOYMENTS)


@jsii.implements(IPolicyValidationPlugin)
class RulePack:
    """`acknowledged`: findings that stay. `stories`: what every deployment must hold in full."""

    def __init__(self, rules: Sequence[Rule], *, stories: Iterable[StoryContract] = (),
                 acknowledged: Sequence[Acknowledged] = ()) -> None:
        self._rules, self._stories, self._acknowledged = tuple(rules), tuple(stories), tuple(acknowledged)

    @property
    def name(self) -> str:
        return NAME

    @property
    def version(self) -> str:
        return "1.0.0"

    @property
    def rule_ids(self) -> list[str]:
        return [rule.id for rule in self._rules]

    def validate(self, context: IPolicyValidationContext) -> PolicyValidationPluginReport:
        stacks = [_stack(s.stack_construct_path, s.region, s.template_path) for s in context.stack_templates]
        violations = [_violation(rule, finding) for deployed in self._deployments(stacks)
                      for rule, finding in findings(self._rules, deployed)
                      if not any(row.covers(rule.id, below_stage(finding)) for row in self._acknowledged)]
        return PolicyValidationPluginReport(success=not violations, violations=violations)

    def _deployments(self, stacks: Sequence[Stack]) -> Iterator[Deployed]:
        for deployment in DEPLOYMENTS:
            mine = tuple(s for s in stacks if s.region == deployment.region)
            if mine:
                yield Deployed(deployment, mine, self._stories)


def findings(rules: Iterable[Rule], deployed: Deployed) -> Iterator[tuple[Rule, Finding]]:
    for rule in rules:
        for finding in rule.find(deployed):
            yield rule, finding


def below_stage(finding: Finding) -> str:
    """`jp/Data/Buckets/Lake` is `Data/Buckets/Lake` in every deployment."""
    return finding.path.split("/", 1)[-1]


def _stack(path: str, region: str | None, file: str) -> Stack:
    if region is None or region not in _REGIONS:
        raise ValueError(f"{path} is in the region {region!r}: allowed are {', '.join(_REGIONS)}; give its stage an "
                         "env with one of them")
    return Stack(path, region, Path(file))


def _violation(rule: Rule, finding: Finding) -> PolicyViolation:
    on = finding.on
    file = on.file if isinstance(on, Stack) else on.stack.file
    return PolicyViolation(
        # Fatal, because CDK lets any construct acknowledge an error; what stays is listed in one table.
        rule_name=rule.id, description=rule.says(finding), severity="fatal",
        fix=f"{rule.mend}. What is right as it is gets a row with its reason in {ACKNOWLEDGEMENTS}",
        violating_resources=[PolicyViolatingResource(
            construct_path=finding.path, resource_logical_id=finding.logical_id or None, template_path=str(file),
            locations=[finding.where])],
    )

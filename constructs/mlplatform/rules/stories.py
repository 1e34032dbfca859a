"""Every story has its flags, its data-set schema version and its audit sink, in every deployment."""

from __future__ import annotations

from collections.abc import Iterator

from contracts import naming
from contracts.datasets import READABLE_SCHEMA_VERSIONS
from contracts.functions import PROMOTE
from contracts.kill_switches import GLOBAL_FREEZE, Flag
from contracts.story import StoryContract
from mlplatform.rules.rule import Finding, rule
from mlplatform.rules.serving import Request
from mlplatform.rules.signed_copies import listed
from mlplatform.rules.templates import Deployed, Resource, Stack
from mlplatform.rules.workflows import MACHINE, states

_FREEZE_MODULE = "model_code.platform.freeze_dataset"  # writes the version into the manifest of each data set
_REWRITES = {"dynamodb:UpdateItem", "dynamodb:DeleteItem"}
_FROZEN = {"Name", "Type", "Value", "AllowedPattern"}  # CloudFormation resets a flag when any other property changes


def _machine(deployed: Deployed, story: StoryContract) -> Resource | None:
    return deployed.named(MACHINE, "StateMachineName", naming.retrain_state_machine(story.slug))


def _place(deployed: Deployed, story: StoryContract) -> Resource | Stack:
    """Where to point when something is missing: the story's machine, or else the deployment's first stack."""
    return _machine(deployed, story) or deployed.stacks[0]


@rule("StoryFlags", concern="kill switches, in order of precedence",
      why="a switch that does not exist can't stop a promotion, and one that a deploy resets opens it again",
      mend="KillSwitches(self, \"KillSwitches\", flags=story.flags): name, type, value and pattern only, retained, "
           "untagged")
def flags(deployed: Deployed) -> Iterator[Finding]:
    for story in deployed.stories:
        for flag in (GLOBAL_FREEZE, *story.flags):
            parameter = deployed.named("AWS::SSM::Parameter", "Name", flag.parameter)
            if parameter is None:
                yield Finding(on=_place(deployed, story), where=flag.parameter, what=f"{story.slug} lacks this flag")
            else:
                yield from _resettable(parameter, flag)


def _resettable(parameter: Resource, flag: Flag) -> Iterator[Finding]:
    more = sorted(parameter.properties.keys() - _FROZEN)
    if more:
        yield Finding(on=parameter, where=f"Properties.{more[0]}", what=f"{flag.name} would be reset when this changes")
    if parameter.body.get("DeletionPolicy") != "Retain":
        yield Finding(on=parameter, where="DeletionPolicy", what=f"{flag.name} goes with its stack")
    if parameter.text("Value") not in ("true", "false"):
        yield Finding(on=parameter, where="Properties.Value", what=f"{parameter.text('Value')!r} is no switch position")


@rule("StoryDatasetSchema", concern="schema versioning on training data sets",
      why="a model trained on rows that were read under another schema can't be told from a good one",
      mend="set dataset_schema_version to one of contracts.datasets.READABLE_SCHEMA_VERSIONS, and let the retrain "
           "machine freeze its data set (FreezeJob)")
def dataset_schema(deployed: Deployed) -> Iterator[Finding]:
    allowed = ", ".join(map(str, READABLE_SCHEMA_VERSIONS))
    for story in deployed.stories:
        if story.dataset_schema_version not in READABLE_SCHEMA_VERSIONS:
            yield Finding(on=_place(deployed, story), where="dataset_schema_version", what=f"{story.slug} has "
                          f"{story.dataset_schema_version}: readable are {allowed}")
        machine = _machine(deployed, story)
        if machine is None or _FREEZE_MODULE not in machine.text("DefinitionString"):
            yield Finding(on=_place(deployed, story), where="States", what=f"{story.slug} freezes no data set")


@rule("StoryAuditSink", concern="audit trail on label edits and model promotions",
      why="who promoted what, when and why must be answered by records that nobody could rewrite",
      mend="hand the audit table to the story's functions, and `Audit` to its retrain machine; the table's own policy "
           "denies updates and deletes (AuditTable)")
def audit_sink(deployed: Deployed) -> Iterator[Finding]:
    table = deployed.named("AWS::DynamoDB::Table", "TableName", naming.audit_table(deployed.deployment.name))
    if table is not None and not _only_grows(table):
        yield Finding(on=table, where="Properties.ResourcePolicy", what="does not deny updates and deletes")
    for story in deployed.stories:
        machine = _machine(deployed, story)
        if table is None or machine is None or not _records(deployed, machine, table):
            yield Finding(on=_place(deployed, story), where="States", what=f"no state of {story.slug} writes to the "
                          "audit table")
        name = naming.function(story.slug, PROMOTE.name)
        promote = deployed.named("AWS::Lambda::Function", "FunctionName", name)
        if table is None or promote is None or _sink(deployed, promote) is not table:
            yield Finding(on=promote or _place(deployed, story), where="Properties.Environment.Variables.AUDIT_TABLE",
                          what=f"{name} promotes without a record")


def _only_grows(table: Resource) -> bool:
    denied = {action for statement in table.get("ResourcePolicy.PolicyDocument.Statement") or []
              if statement["Effect"] == "Deny" for action in listed(statement["Action"])}
    return denied >= _REWRITES


def _records(deployed: Deployed, machine: Resource, table: Resource) -> bool:
    for name, state in states(machine.document):
        request = Request(machine, name, "invoke", state.get("Parameters", {}))
        function = deployed.target(machine.stack, request.value(request.parameters.get("FunctionName")))
        if function is not None and _sink(deployed, function) is table:
            return True
    return False


def _sink(deployed: Deployed, function: Resource) -> Resource | None:
    return deployed.target(function.stack, function.get("Environment.Variables.AUDIT_TABLE"))

"""Endpoints have guardrail alarms, and models run with no network: read from specs, machines and pipelines.

Models and endpoints are no template resources here, so the rules look where they come from: the
serving spec in SSM, the requests of the state machines, the steps of the pipelines.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from contracts import metrics, naming
from mlplatform.rules.rule import Finding, rule
from mlplatform.rules.templates import Deployed, Resource
from mlplatform.rules.workflows import MACHINE, states

_ALARM = "AWS::CloudWatch::Alarm"
_ACTION = re.compile(r"(?:aws-sdk:|states:::)sagemaker:(\w+)")
_SUBSTITUTION = re.compile(r"\$\{(\w+)\}")
_STEPS = {"Training": "createTrainingJob", "Processing": "createProcessingJob", "Transform": "createTransformJob",
          "Model": "createModel"}


@dataclass(frozen=True)
class Request:
    """A SageMaker request that a state or a pipeline step makes."""

    resource: Resource
    where: str
    action: str
    parameters: Mapping[str, Any]

    def value(self, given: Any) -> Any:
        """What CloudFormation puts in the place of a `${Name}` of a state machine."""
        name = _SUBSTITUTION.fullmatch(given) if isinstance(given, str) else None
        return (self.resource.get("DefinitionSubstitutions") or {}).get(name.group(1)) if name else given


@dataclass(frozen=True)
class Spec:
    resource: Resource
    value: Mapping[str, Any]


def sagemaker_requests(deployed: Deployed, *actions: str) -> Iterator[Request]:
    for machine in deployed.of_type(MACHINE):
        for name, state in states(machine.document):
            named = _ACTION.search(state.get("Resource", ""))
            if named and (not actions or named.group(1) in actions):
                yield Request(machine, f"States.{name}.Parameters", named.group(1), state.get("Parameters", {}))
    for pipeline in deployed.of_type("AWS::SageMaker::Pipeline"):
        for step in pipeline.document["Steps"]:
            action = _STEPS.get(step["Type"], "")
            if action and (not actions or action in actions):
                yield Request(pipeline, f"Steps.{step['Name']}.Arguments", action, step["Arguments"])


def specs(deployed: Deployed) -> Iterator[Spec]:
    root = naming.serving_spec_parameter("")
    for parameter in deployed.of_type("AWS::SSM::Parameter"):
        if parameter.text("Name").startswith(root):
            yield Spec(parameter, parameter.document)


@rule("EndpointGuardrails", concern="an endpoint that gets worse is sent back before anybody is paged",
      why="SageMaker rolls back on alarms only, and silently on none: without errors, latency and an abort among "
          "them a bad version stays",
      mend="let RealtimeEndpoint make the alarms and the spec; an update passes DeploymentConfig on")
def guardrails(deployed: Deployed) -> Iterator[Finding]:
    for spec in specs(deployed):
        named, story = spec.value.get("guardrail_alarms", []), spec.value.get("story", "")
        where = "Properties.Value.guardrail_alarms"
        if not 1 <= len(named) <= 10:
            yield Finding(on=spec.resource, where=where, what=f"{len(named)} alarms, SageMaker takes 1 to 10")
        watched = set()
        for name in named:
            alarm = deployed.named(_ALARM, "AlarmName", name)
            if alarm is None:
                yield Finding(on=spec.resource, where=where, what=f"{name!r} is no alarm of this deployment")
            elif {"Name": "EndpointName", "Value": naming.endpoint(story)} in alarm.get("Dimensions") or \
                    {"Name": metrics.STORY, "Value": story} in alarm.get("Dimensions"):
                watched.add(alarm.text("MetricName"))
        for metric in ("Invocation5XXErrors", "ModelLatency", metrics.CANARY_ABORT):
            if metric not in watched:
                yield Finding(on=spec.resource, where=where, what=f"none of them watches {metric} of {story}")
    for endpoint in deployed.of_type("AWS::SageMaker::Endpoint"):
        if not endpoint.get("DeploymentConfig.AutoRollbackConfiguration.Alarms"):
            yield Finding(on=endpoint, where="Properties.DeploymentConfig.AutoRollbackConfiguration", what="no alarms")
    for request in sagemaker_requests(deployed, "updateEndpoint"):
        if not {"DeploymentConfig", "DeploymentConfig.$"} & request.parameters.keys():
            yield Finding(on=request.resource, where=f"{request.where}.DeploymentConfig", what="updates unguarded")


_WHY_ISOLATED = ("weights and libraries come from outside; without a network neither they nor a customer's text can "
                 "leave")
_SAY_SO = "say EnableNetworkIsolation: true in the request itself; a value that is computed proves nothing"


@rule("ModelNetworkIsolation", concern="a model can call nothing: what it was given is all it has",
      why=_WHY_ISOLATED, mend=_SAY_SO)
def model_isolation(deployed: Deployed) -> Iterator[Finding]:
    for request in sagemaker_requests(deployed, "createModel", "createTrainingJob"):
        yield from _unless_isolated(request, request.parameters, "EnableNetworkIsolation")
    for model in deployed.of_type("AWS::SageMaker::Model"):
        if model.get("EnableNetworkIsolation") is not True:
            yield Finding(on=model, where="Properties.EnableNetworkIsolation", what="must be true")


@rule("JobNetworkIsolation", concern="a model can call nothing: what it was given is all it has",
      why=_WHY_ISOLATED, mend=_SAY_SO + "; acknowledge a job that runs no model and must call an API")
def job_isolation(deployed: Deployed) -> Iterator[Finding]:
    for request in sagemaker_requests(deployed, "createProcessingJob"):
        network = request.parameters.get("NetworkConfig", {})
        yield from _unless_isolated(request, network, "NetworkConfig.EnableNetworkIsolation")


def _unless_isolated(request: Request, group: Mapping[str, Any], where: str) -> Iterator[Finding]:
    name = where.rpartition(".")[2]
    if group.get(name) is not True:
        given = group.get(name, group.get(f"{name}.$", "not there"))
        yield Finding(on=request.resource, where=f"{request.where}.{where}", what=f"must be true, is {given}")

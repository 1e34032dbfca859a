"""Retrain one story: the machine, its weekly schedule and its reaction to a changed serving spec."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from aws_cdk import aws_kms as kms

from constructs import Construct
from contracts import naming
from contracts.deployments import Deployment
from contracts.story import StoryContract
from mlplatform.approval import ask_for_approval
from mlplatform.eventing import ParameterRule, Schedule
from mlplatform.label_platform import FreezeJob
from mlplatform.leased_run import reject_version
from mlplatform.policies import allow
from mlplatform.retrain_states import retrain_states
from mlplatform.state_machine import StateMachine, run_child
from mlplatform.training_pipeline import TrainingPipeline


@dataclass(frozen=True, kw_only=True)
class RetrainWorkflowProps:
    """`functions`: substitution name -> ARN, for Lease, KillSwitches, RunPlan, Judge, Publish, Promote, Audit."""

    story: StoryContract
    deployment: Deployment
    functions: Mapping[str, str]
    freeze: FreezeJob
    pipeline: TrainingPipeline
    release: StateMachine
    topic_arn: str
    key: kms.IKey


class RetrainWorkflow(Construct):
    """Outside home there is no schedule and `retrain` is refused: home trains, the others receive."""

    def __init__(self, scope: Construct, id_: str, *, props: RetrainWorkflowProps) -> None:
        super().__init__(scope, id_)
        slug = props.story.slug
        self.machine = StateMachine(
            self, "Machine", name=naming.retrain_state_machine(slug), start="Defaults", key=props.key,
            comment=f"{props.story.entry.code}: retrain, reconcile or roll back {slug}",
            states=retrain_states(slug=slug, home=props.deployment.home, freeze_request=props.freeze.request(),
                                  approval_within_s=props.story.approval_within_s),
            substitutions={**props.functions, **props.freeze.substitutions(), "Pipeline": props.pipeline.name,
                           "ReleaseMachine": props.release.arn, "OnCallTopic": props.topic_arn},
            statements=[
                allow("lambda:InvokeFunction", on=list(props.functions.values())),
                *props.freeze.run_statements(naming.freeze_job(slug, "*")),
                *props.pipeline.run_statements(), *run_child(props.release), reject_version(slug),
                allow("sns:Publish", on=props.topic_arn),
                *([] if props.story.approval_within_s is None else [ask_for_approval(slug)]),
            ],
        )
        if props.deployment.home:
            Schedule(self, "Weekly", name=f"{naming.PROJECT}-{slug}-retrain", expression=props.story.schedule.cron,
                     time_zone=props.story.schedule.time_zone, target_arn=self.machine.arn,
                     action="states:StartExecution", body={"mode": "retrain", "trigger": "weekly"})
        ParameterRule(self, "SpecChange", parameter=naming.serving_spec_parameter(slug),
                      says="A changed serving spec is reconciled with what serves",
                      machine_arn=self.machine.arn, body={"mode": "reconcile", "trigger": "spec-change"})

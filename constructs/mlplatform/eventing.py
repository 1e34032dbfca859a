"""Schedules and event rules, each with a role of its own and a queue for what can't be delivered."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from aws_cdk import aws_events as events
from aws_cdk import aws_scheduler as scheduler

from constructs import Construct
from contracts.events import ALARM_STATE_CHANGE, PARAMETER_STORE_CHANGE
from mlplatform.dead_letters import DeadLetters
from mlplatform.platform_function import PlatformFunction
from mlplatform.policies import allow, service_role

# An event older than this is stale: the next schedule, alarm or operator decides anew.
_MAX_AGE_S, _MAX_ATTEMPTS = 3_600, 8


class Schedule(Construct):
    """A cron or rate expression in a named time zone."""

    def __init__(self, scope: Construct, id_: str, *, name: str, expression: str, time_zone: str, target_arn: str,
                 action: str, body: Mapping[str, Any]) -> None:
        super().__init__(scope, id_)
        self.undelivered = DeadLetters(self, "Undelivered")
        role = service_role(
            self, "Role", service="scheduler.amazonaws.com", description=f"Starts what {name} is about",
            statements=[allow(action, on=target_arn), allow("sqs:SendMessage", on=self.undelivered.arn)],
        )
        scheduler.CfnSchedule(
            self, "Default", name=name, schedule_expression=expression, schedule_expression_timezone=time_zone,
            flexible_time_window=scheduler.CfnSchedule.FlexibleTimeWindowProperty(mode="OFF"),
            target=scheduler.CfnSchedule.TargetProperty(
                arn=target_arn, role_arn=role.role_arn, input=json.dumps(body),
                dead_letter_config=scheduler.CfnSchedule.DeadLetterConfigProperty(arn=self.undelivered.arn),
                retry_policy=scheduler.CfnSchedule.RetryPolicyProperty(
                    maximum_event_age_in_seconds=_MAX_AGE_S, maximum_retry_attempts=_MAX_ATTEMPTS)),
        )


class _Rule(Construct):
    def __init__(self, scope: Construct, id_: str, *, says: str, pattern: Mapping[str, Any], target_arn: str,
                 role_arn: str | None = None, body: Mapping[str, Any] | None = None,
                 transformer: events.CfnRule.InputTransformerProperty | None = None) -> None:
        super().__init__(scope, id_)
        self.undelivered = DeadLetters(self, "Undelivered", open_to="events.amazonaws.com")
        self.resource = events.CfnRule(
            self, "Default", description=says, event_pattern=dict(pattern), state="ENABLED",
            targets=[events.CfnRule.TargetProperty(
                id="Target", arn=target_arn, role_arn=role_arn, input=json.dumps(body) if body is not None else None,
                input_transformer=transformer,
                dead_letter_config=events.CfnRule.DeadLetterConfigProperty(arn=self.undelivered.arn),
                retry_policy=events.CfnRule.RetryPolicyProperty(
                    maximum_event_age_in_seconds=_MAX_AGE_S, maximum_retry_attempts=_MAX_ATTEMPTS))],
        )


class FunctionRule(_Rule):
    """Events that invoke a function with the event itself."""

    def __init__(self, scope: Construct, id_: str, *, says: str, pattern: Mapping[str, Any],
                 function: PlatformFunction) -> None:
        super().__init__(scope, id_, says=says, pattern=pattern, target_arn=function.arn)
        function.allow_invoke(f"Invoke{id_}", service="events.amazonaws.com", source_arn=self.resource.attr_arn)


class MachineRule(_Rule):
    """Events that start a state machine, with a fixed body or with what `transformer` takes out of the event."""

    def __init__(self, scope: Construct, id_: str, *, says: str, pattern: Mapping[str, Any], machine_arn: str,
                 body: Mapping[str, Any] | None = None,
                 transformer: events.CfnRule.InputTransformerProperty | None = None) -> None:
        # A role that a subclass needs before `super().__init__` hangs beside the rule, not below it.
        role = service_role(scope, f"{id_}Role", service="events.amazonaws.com", description=says,
                            statements=[allow("states:StartExecution", on=machine_arn)])
        super().__init__(scope, id_, says=says, pattern=pattern, target_arn=machine_arn, role_arn=role.role_arn,
                         body=body, transformer=transformer)


class ParameterRule(MachineRule):
    """A changed SSM parameter starts a state machine. The body is fixed: the event's own data is not trusted."""

    def __init__(self, scope: Construct, id_: str, *, parameter: str, says: str, machine_arn: str,
                 body: Mapping[str, Any]) -> None:
        super().__init__(scope, id_, says=says, pattern=parameter_change(parameter), machine_arn=machine_arn, body=body)


def parameter_change(name: str) -> dict[str, Any]:
    """An existing parameter got a new value; its creation is not a change."""
    return {"source": ["aws.ssm"], "detail-type": [PARAMETER_STORE_CHANGE],
            "detail": {"name": [name], "operation": ["Update"]}}


def alarm_rings(name_prefix: str) -> dict[str, Any]:
    return {"source": ["aws.cloudwatch"], "detail-type": [ALARM_STATE_CHANGE],
            "detail": {"alarmName": [{"prefix": name_prefix}], "state": {"value": ["ALARM"]}}}

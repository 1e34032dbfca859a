"""A standard state machine from dictionaries: its own role, encrypted logs, tracing."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property

from aws_cdk import aws_kms as kms
from aws_cdk import aws_stepfunctions as sfn

from constructs import Construct
from contracts import workflow
from mlplatform.asl import State
from mlplatform.policies import Statement, allow, arn, arn_of, service_role, use_key
from mlplatform.retention import log_group

# Log delivery and X-Ray have no resource-level permissions.
_TRACE = allow("xray:PutTraceSegments", "xray:PutTelemetryRecords", "xray:GetSamplingRules",
               "xray:GetSamplingTargets", on="*")
_DELIVER_LOGS = allow(
    "logs:CreateLogDelivery", "logs:GetLogDelivery", "logs:UpdateLogDelivery", "logs:DeleteLogDelivery",
    "logs:ListLogDeliveries", "logs:PutResourcePolicy", "logs:DescribeResourcePolicies", "logs:DescribeLogGroups",
    on="*",
)


class StateMachine(Construct):
    """Logs name every state and error, never inputs: execution data may hold what must not leave the region."""

    def __init__(self, scope: Construct, id_: str, *, name: str, comment: str, start: str, states: Mapping[str, State],
                 substitutions: Mapping[str, str], statements: Sequence[Statement], key: kms.IKey) -> None:
        super().__init__(scope, id_)
        self.name = name
        definition = {"Comment": comment, "StartAt": start, "TimeoutSeconds": workflow.EXECUTION_TIMEOUT_S,
                      "States": dict(states)}
        self.role = service_role(
            self, "Role", service="states.amazonaws.com", description=f"What {name} may call",
            statements=[*statements, use_key(arn_of(key)), _TRACE, _DELIVER_LOGS],
        )
        # The vendedlogs prefix keeps Step Functions from growing the account's log resource policy.
        group = log_group(self, "Logs", name=f"/aws/vendedlogs/states/{name}", key_arn=arn_of(key))
        self.resource = sfn.CfnStateMachine(
            self, "Default", state_machine_name=name, state_machine_type="STANDARD", role_arn=self.role.role_arn,
            definition_string=json.dumps(definition, separators=(",", ":")),
            definition_substitutions=dict(substitutions),
            logging_configuration=sfn.CfnStateMachine.LoggingConfigurationProperty(
                level="ALL", include_execution_data=False,
                destinations=[sfn.CfnStateMachine.LogDestinationProperty(
                    cloud_watch_logs_log_group=sfn.CfnStateMachine.CloudWatchLogsLogGroupProperty(
                        log_group_arn=group.attr_arn))],
            ),
            tracing_configuration=sfn.CfnStateMachine.TracingConfigurationProperty(enabled=True),
            encryption_configuration=sfn.CfnStateMachine.EncryptionConfigurationProperty(
                type="CUSTOMER_MANAGED_KMS_KEY", kms_key_id=arn_of(key), kms_data_key_reuse_period_seconds=300),
        )

    @cached_property
    def arn(self) -> str:
        return self.resource.attr_arn


def run_child(machine: StateMachine) -> list[Statement]:
    """What `startExecution.sync:2` of a machine needs; it watches the child through one managed rule."""
    return [
        allow("states:StartExecution", on=machine.arn),
        allow("states:DescribeExecution", "states:StopExecution",
              on=arn("states", f"execution:{machine.name}:*")),
        allow("events:PutTargets", "events:PutRule", "events:DescribeRule",
              on=arn("events", "rule/StepFunctionsGetEventsForStepFunctionsExecutionRule")),
    ]

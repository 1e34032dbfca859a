"""A drift alarm's state change -> {"started": execution ARN or null, "reason"}.

The execution is named after the event, so that an event delivered twice starts one execution.
"""

from __future__ import annotations

import json
from typing import Any

from contracts import metrics, naming
from contracts.functions import DriftTriggerEnv
from lambdas.drift_trigger.logic import answer, is_drift_alarm
from lambdas.shared.aws import client, client_error, environment, error_code
from lambdas.shared.flags import current_decision
from lambdas.shared.observability import count, instrumented


@instrumented("drift_trigger")
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    env = environment(DriftTriggerEnv)
    if not is_drift_alarm(event, env.STORY):
        return {"started": None, "reason": "not a drift alarm going off"}
    found = answer(event, env.STORY, current_decision(env.STORY))
    if not found.start:
        count(metrics.DRIFT_IGNORED, story=env.STORY, reason=found.reason)
        return {"started": None, "reason": found.reason}
    return {
        "started": _start(env.RETRAIN_STATE_MACHINE_ARN, str(event["id"]), found.reason),
        "reason": found.reason,
    }


def _start(machine: str, event_id: str, reason: str) -> str:
    name = naming.execution_name("drift", event_id)
    try:
        answer = client("stepfunctions").start_execution(
            stateMachineArn=machine,
            name=name,
            input=json.dumps({"mode": "retrain", "trigger": "drift", "reason": reason}),
        )
    except client_error() as error:
        if error_code(error) != "ExecutionAlreadyExists":
            raise
        return machine.replace(":stateMachine:", ":execution:") + f":{name}"
    return str(answer["executionArn"])

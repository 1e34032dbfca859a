"""A drift alarm's state change, or the hourly {"story", "retry": true} ->
{"started": execution ARN or null, "reason"}.

The execution is named after the alarm's event, so that an event delivered twice starts one execution. The claim is
written before the execution starts: if the start fails, the retry of the same event finds its claim and starts it.
"""

from __future__ import annotations

import json
import time
from typing import Any

from contracts import metrics, naming, stories
from contracts.functions import DriftTriggerEnv
from lambdas.drift_trigger.logic import Admission, Claim, admit, answer, deferred_claim, drift_alarm_of, recorded
from lambdas.drift_trigger.store import DynamoLedger
from lambdas.shared.aws import client, client_error, environment, error_code
from lambdas.shared.flags import current_decision
from lambdas.shared.observability import count, instrumented

_TRIES = 10  # eight stories write one item; each try is a read and a write


@instrumented("drift_trigger")
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    env = environment(DriftTriggerEnv)
    ledger = DynamoLedger(client("dynamodb"), env.CONTROL_TABLE)
    claim = _claim(event, env.STORY, ledger)
    if claim is None:
        return {"started": None, "reason": "not a drift alarm going off, and nothing is deferred"}
    found = answer(claim.alarm, current_decision(env.STORY))
    if not found.start:
        return _ignored(env.STORY, found.reason, metric_reason=found.reason)
    admission = _admission(ledger, env.STORY, claim)
    if admission is not Admission.START:
        return _ignored(env.STORY, str(admission), metric_reason=admission.name.lower())
    return {"started": _start(env.RETRAIN_STATE_MACHINE_ARN, claim.event_id, claim.alarm), "reason": claim.alarm}


def _claim(event: dict[str, Any], slug: str, ledger: DynamoLedger) -> Claim | None:
    now = int(time.time())
    if event.get("retry") is True:
        return deferred_claim(ledger.read()[0], slug, now=now)
    alarm = drift_alarm_of(event, slug, [monitor.name for monitor in stories.story(slug).monitors])
    return None if alarm is None else Claim(event_id=str(event["id"]), alarm=alarm, at=now, started=False)


def _admission(store: DynamoLedger, slug: str, claim: Claim) -> Admission:
    priority = [entry.slug for entry in stories.deploy_order()]
    for _ in range(_TRIES):
        now = int(time.time())
        ledger, revision = store.read()
        admission = admit(ledger, {slug: claim}, now=now, priority=priority)[slug]
        after = recorded(ledger, slug, claim, admission, now=now)
        if after == ledger or store.write(after, revision):
            return admission
    raise TimeoutError(f"the ledger of drift retrains changed under {_TRIES} tries: the event is retried")


def _ignored(slug: str, reason: str, *, metric_reason: str) -> dict[str, Any]:
    count(metrics.DRIFT_IGNORED, story=slug, reason=metric_reason)
    return {"started": None, "reason": reason}


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

"""What a rule or a schedule may call, asked before it calls: the target's role, or the target's own policy.

ministack delivers whatever the grants; on AWS a missing `events:` permission is the commonest silent failure,
so here the delivery fails too, is logged, counted in AWS/Events FailedInvocations and sent to the dead-letter queue.
"""

from __future__ import annotations

import json
import logging
import uuid
from typing import Any

from local import roles
from local.config import LocalConfig
from local.states import casing

_LOG = logging.getLogger("local.events")
_ROLE_ACTIONS = {"states": "states:StartExecution", "lambda": "lambda:InvokeFunction", "sqs": "sqs:SendMessage",
                 "sns": "sns:Publish", "events": "events:PutEvents", "codebuild": "codebuild:StartBuild",
                 "sagemaker": "sagemaker:StartPipelineExecution", "firehose": "firehose:PutRecord",
                 "kinesis": "kinesis:PutRecord"}
_ALWAYS_BY_ROLE = {"states", "codebuild", "sagemaker", "firehose", "kinesis"}  # have no policy of their own


class DeliveryRefused(Exception):
    pass


def install(config: LocalConfig) -> None:
    from ministack.services import eventbridge

    original = eventbridge._invoke_target

    def invoke_target(target: dict[str, Any], event: dict[str, Any], rule: dict[str, Any], view: Any = None) -> None:
        scheduled = event.get("Source") == "aws.scheduler" and "FlexibleTimeWindow" in rule
        try:
            if scheduled and target["Arn"].startswith("arn:aws:scheduler:::aws-sdk:"):
                _call_api(target, event, config)
                return
            _check_grant(target, rule, scheduled)
            if scheduled:
                target = {**target, "Input": _with_context(target.get("Input"), event)}
            original(target, event, rule, view)
        except (DeliveryRefused, roles.RoleRefused) as error:
            _failed(target, event, rule, str(error))

    eventbridge._invoke_target = invoke_target


def _check_grant(target: dict[str, Any], rule: dict[str, Any], scheduled: bool) -> None:
    arn = target.get("Arn", "")
    service, region = [*arn.split(":"), "", "", "", ""][2:4]
    action = _ROLE_ACTIONS.get(service)
    if action is None:
        raise DeliveryRefused(f"a target of the service {service!r} is not supported "
                              f"(supported are {sorted(_ROLE_ACTIONS)}): {arn}")
    principal = "scheduler.amazonaws.com" if scheduled else "events.amazonaws.com"
    role = target.get("RoleArn")
    if role:
        if not roles.may(role, principal, action, arn, region):
            raise DeliveryRefused(f"the role {role} is not allowed {action} on {arn}")
    elif scheduled or service in _ALWAYS_BY_ROLE:
        raise DeliveryRefused(f"the target {arn} needs a RoleArn that allows {action}")
    elif service in ("lambda", "sqs", "sns") and not _policy_allows(service, arn, action, principal, rule):
        raise DeliveryRefused(f"the resource policy of {arn} does not allow {action} by {principal} "
                              f"for the rule {rule.get('Arn')}")


def _policy_allows(service: str, arn: str, action: str, principal: str, rule: dict[str, Any]) -> bool:
    from ministack.core import iam_evaluator
    from ministack.core.responses import get_account_id, get_region

    found = iam_evaluator._resource_policy(service, arn)
    if found is None:
        return False
    policy, _ = found
    context = iam_evaluator.EvalContext(
        principal_arn="", principal_type="Service", principal_account=get_account_id(), action=action,
        resource_arn=arn, region=get_region(), principal_keys={},
        service_context={"aws:sourcearn": rule.get("Arn", ""), "aws:sourceaccount": get_account_id(),
                         "aws:securetransport": "true"},
    )
    return bool(iam_evaluator.evaluate_resource_policy(policy, context, service=principal).decision == "Allow")


def _with_context(template: str | None, event: dict[str, Any]) -> str:
    """Scheduler's default payload, or the schedule's own with <aws.scheduler...> filled in."""
    time = _iso(event)
    arn = event["Resources"][0]
    if template is None:
        return json.dumps({"version": "0", "id": event["EventId"], "detail-type": "Scheduled Event",
                           "source": "aws.scheduler", "account": event["Account"], "time": time,
                           "region": event["Region"], "resources": [arn], "detail": "{}"})
    for key, value in (("schedule-arn", arn), ("scheduled-time", time), ("execution-id", event["EventId"]),
                       ("attempt-number", "1")):
        template = template.replace(f"<aws.scheduler.{key}>", value)
    return template


def _iso(event: dict[str, Any]) -> str:
    import datetime

    moment = datetime.datetime.fromtimestamp(int(event["Time"]), tz=datetime.UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _call_api(target: dict[str, Any], event: dict[str, Any], config: LocalConfig) -> None:
    """A universal target, arn:aws:scheduler:::aws-sdk:SERVICE:ACTION: any API call by the schedule's role."""
    import boto3
    from botocore import xform_name

    from local.states.engine import run_in_background

    name, action = target["Arn"].split(":aws-sdk:", 1)[1].split(":", 1)
    service = casing.boto_service(name)
    model = casing.operation(service, action)
    keys = roles.credentials(target["RoleArn"], "scheduler.amazonaws.com", "scheduler")
    client = boto3.client(service, region_name=event["Region"],  # type: ignore[call-overload]
                          endpoint_url=config.endpoint_url, **keys)
    parameters = casing.to_boto(json.loads(_with_context(target.get("Input") or "{}", event)), model.input_shape)

    def call() -> None:
        try:
            getattr(client, xform_name(model.name))(**parameters)
        except client.exceptions.ClientError as error:
            _LOG.warning("schedule %s: %s failed: %s", event["Resources"][0], target["Arn"], error)

    run_in_background(call)


def _failed(target: dict[str, Any], event: dict[str, Any], rule: dict[str, Any], reason: str) -> None:
    from ministack.core.arn import parse_arn
    from ministack.services import cloudwatch, eventbridge

    _LOG.warning("%s does not deliver: %s", rule.get("Arn") or rule.get("Name"), reason)
    cloudwatch.record_metric("AWS/Events", "FailedInvocations", 1, "Count", {"RuleName": rule.get("Name", "")})
    dead_letters = (target.get("DeadLetterConfig") or {}).get("Arn")
    if dead_letters:
        body = json.dumps({"id": str(uuid.uuid4()), "reason": reason, "target": target.get("Arn"),
                           "detail-type": event.get("DetailType"), "detail": event.get("Detail")})
        eventbridge._dispatch_to_sqs(parse_arn(dead_letters), body)

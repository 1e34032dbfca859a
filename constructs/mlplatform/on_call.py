"""The on-call topic, and alarms that say which runbook to open."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_sns as sns

from constructs import Construct
from mlplatform.policies import ACCOUNT

RUNBOOKS = "docs/runbooks"


class OnCall(Construct):
    """Encrypted, TLS only; CloudWatch alarms of this account may publish. Subscriptions belong to the team."""

    def __init__(self, scope: Construct, id_: str, *, name: str, key: kms.IKey) -> None:
        super().__init__(scope, id_)
        self.topic = sns.Topic(self, "Default", topic_name=name, master_key=key, enforce_ssl=True)
        self.topic.add_to_resource_policy(iam.PolicyStatement(
            sid="AlarmsMayPublish", principals=[iam.ServicePrincipal("cloudwatch.amazonaws.com")],
            actions=["sns:Publish"], resources=[self.topic.topic_arn],
            conditions={"StringEquals": {"aws:SourceAccount": ACCOUNT}},
        ))


@dataclass(frozen=True, kw_only=True)
class AlarmProps:
    """One alarm on one metric. `runbook` is a file name in docs/runbooks, without `.md`."""

    name: str
    says: str
    runbook: str
    namespace: str
    metric: str
    threshold: float
    dimensions: Mapping[str, str] = field(default_factory=dict)
    statistic: str = "Sum"
    period_s: int = 300
    periods: int = 1
    datapoints: int = 1
    comparison: str = "GreaterThanThreshold"
    missing: str = "notBreaching"
    notify_ok: bool = False


def alarm(scope: Construct, id_: str, props: AlarmProps, *, topic_arn: str) -> cloudwatch.CfnAlarm:
    """A CloudWatch alarm that pages, with its runbook's path in the description."""
    percentile = props.statistic.startswith("p")
    return cloudwatch.CfnAlarm(
        scope, id_, alarm_name=props.name, alarm_description=f"{props.says} Runbook: {RUNBOOKS}/{props.runbook}.md",
        namespace=props.namespace, metric_name=props.metric,
        dimensions=[cloudwatch.CfnAlarm.DimensionProperty(name=n, value=v) for n, v in props.dimensions.items()],
        statistic=None if percentile else props.statistic,
        extended_statistic=props.statistic if percentile else None,
        period=props.period_s, evaluation_periods=props.periods, datapoints_to_alarm=props.datapoints,
        threshold=props.threshold, comparison_operator=props.comparison, treat_missing_data=props.missing,
        alarm_actions=[topic_arn], ok_actions=[topic_arn] if props.notify_ok else None,
    )

"""A real-time endpoint as the templates know it: role, alarms on its name, and a serving spec in SSM.

Model, endpoint config and endpoint are no resources here: a mere tag would replace them, and a
deploy would undo a promotion. The release machine makes them from spec and pointer.
"""

from __future__ import annotations

from dataclasses import dataclass

from aws_cdk import aws_kms as kms
from aws_cdk import aws_ssm as ssm

from constructs import Construct
from contracts import metrics, naming, records
from contracts.serving import ServingSpec
from contracts.story import StoryContract
from mlplatform.buckets import Buckets
from mlplatform.network import Network
from mlplatform.on_call import AlarmProps, alarm
from mlplatform.policies import Statement, allow, arn, arn_of, read_prefixes
from mlplatform.sagemaker_roles import sagemaker_role

MAX_5XX_SHARE = 0.01  # of requests in a minute; a canary carries too few for a finer line
_US_PER_MS = 1_000  # SageMaker reports ModelLatency in microseconds


@dataclass(frozen=True, kw_only=True)
class RealtimeEndpointProps:
    story: StoryContract
    image: str  # pinned by digest
    buckets: Buckets
    network: Network
    key: kms.IKey
    topic_arn: str


class RealtimeEndpoint(Construct):
    """`role`, `spec` and the alarms that send a canary back."""

    def __init__(self, scope: Construct, id_: str, *, props: RealtimeEndpointProps) -> None:
        super().__init__(scope, id_)
        story, slug = props.story, props.story.slug
        self.name = naming.endpoint(slug)
        self.role = sagemaker_role(
            self, "Role", description=f"Serves {slug}", log_group=f"Endpoints/{self.name}",
            image_repository=naming.image_repository("serving"), key_arn=arn_of(props.key), network=props.network,
            writes=False,
            statements=[
                *read_prefixes(props.buckets.artifacts.bucket_arn, naming.all_models_prefix(slug)),
                read_guardrails(slug),  # SageMaker reads them as the endpoint's role
            ],
        )
        guardrails = [self._alarm(p, props.topic_arn) for p in self._guardrails(story)]
        for slo in self._slos(story):
            self._alarm(slo, props.topic_arn)
        serving = story.serving
        self.spec = ServingSpec(
            story=slug, instance_type=serving.instance_type, min_instances=serving.min_instances,
            max_instances=serving.max_instances, invocations_per_instance=serving.invocations_per_instance,
            image=props.image, role_arn=self.role.role_arn, kms_key=arn_of(props.key),
            subnets=tuple(props.network.subnet_ids), security_groups=tuple(props.network.security_group_ids),
            guardrail_alarms=tuple(guardrails), canary=serving.canary, shadow=serving.shadow,
        )
        ssm.CfnParameter(self, "Spec", name=naming.serving_spec_parameter(slug), type="String",
                         value=self.spec.to_json())

    def _alarm(self, props: AlarmProps, topic_arn: str) -> str:
        alarm(self, naming.pascal(props.name.removeprefix(f"{self.name}-")), props, topic_arn=topic_arn)
        return props.name

    def _on_variant(self, story: StoryContract, name: str, metric: str, **options: object) -> AlarmProps:
        # Champion and candidate share the variant's name, so this is what users of either see.
        return AlarmProps(name=name, namespace="AWS/SageMaker", metric=metric,
                          dimensions={"EndpointName": self.name, "VariantName": records.VARIANT},
                          period_s=60, **options)  # type: ignore[arg-type]

    def _guardrails(self, story: StoryContract) -> list[AlarmProps]:
        """At most 10, says SageMaker. These roll a deployment back; an SLO that is missed only pages."""
        slowest, slug = story.slowest_ms, story.slug
        return [
            self._on_variant(
                story, naming.guardrail_alarm(slug, "errors"), "Invocation5XXErrors", runbook="guardrail-errors",
                says=f"{self.name}: more than {MAX_5XX_SHARE:.0%} of requests fail with 5xx.", statistic="Average",
                threshold=MAX_5XX_SHARE, periods=3, datapoints=2),
            self._on_variant(
                story, naming.guardrail_alarm(slug, "latency"), "ModelLatency", runbook="guardrail-latency",
                says=f"{self.name}: p95 is beyond what p99 may be ({slowest:g} ms).", statistic="p95",
                threshold=slowest * _US_PER_MS, periods=3, datapoints=3),
            AlarmProps(
                name=naming.guardrail_alarm(slug, "canary-abort"), runbook="canary-abort", threshold=1,
                says=f"{self.name}: a kill switch, an operator or the canary's judge aborted the deployment in flight.",
                namespace=metrics.NAMESPACE, metric=metrics.CANARY_ABORT, statistic="Maximum", period_s=60,
                dimensions=metrics.dimensions(metrics.CANARY_ABORT, story=slug),
                comparison="GreaterThanOrEqualToThreshold"),
        ]

    def _slos(self, story: StoryContract) -> list[AlarmProps]:
        """One alarm per latency objective of the contract."""
        return [
            self._on_variant(
                story, f"{self.name}-slo-{slo.metric.removesuffix('_ms')}", "ModelLatency", runbook="latency-slo",
                says=f"{self.name}: {slo.metric} is above {slo.at_most:g} ms.",
                statistic=slo.metric.removesuffix("_ms"), threshold=slo.at_most * _US_PER_MS, periods=15, datapoints=12)
            for slo in story.slos if slo.unit == "Milliseconds"
        ]


def read_guardrails(slug: str) -> Statement:
    return allow("cloudwatch:DescribeAlarms", on=arn("cloudwatch", f"alarm:{naming.guardrail_alarm(slug, '*')}"))

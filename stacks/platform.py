"""What all stories share: network, inference cache, images, on-call, the global freeze, functions, labels, joins."""

from __future__ import annotations

from typing import Any

from aws_cdk import Stack
from mlplatform.container_image import ContainerImage
from mlplatform.inference_cache import InferenceCache
from mlplatform.kill_switches import KillSwitches
from mlplatform.label_expiry import LabelExpiry
from mlplatform.label_inbox import LabelInbox
from mlplatform.label_ingest import LabelIngest
from mlplatform.label_platform import LabelJobProps
from mlplatform.network import Network
from mlplatform.on_call import OnCall
from mlplatform.shared_functions import SharedFunctions
from mlplatform.spark_join import SparkJoin, SparkJoinProps

from constructs import Construct
from contracts import naming
from contracts.deployments import Deployment
from contracts.kill_switches import GLOBAL_FREEZE
from contracts.stories import CONTRACTS
from stacks.data import DataStack


class PlatformStack(Stack):
    def __init__(self, scope: Construct, id_: str, *, deployment: Deployment, data: DataStack, **options: Any) -> None:
        super().__init__(scope, id_, **options)
        name, key = f"{naming.PROJECT}-{deployment.name}", data.key
        self.network = Network(self, "Network", name=name, key=key)
        self.inference_cache = InferenceCache(self, "InferenceCache", deployment=deployment.name, network=self.network,
                                              key=key)
        self.on_call = OnCall(self, "OnCall", name=f"{name}-on-call", key=key)
        self.training_image = ContainerImage(self, "TrainingImage", kind="training", key=key)
        self.serving_image = ContainerImage(self, "ServingImage", kind="serving", key=key)
        self.switches = KillSwitches(self, "KillSwitches", flags=[GLOBAL_FREEZE])
        self.functions = SharedFunctions(self, "Functions", control=data.control, audit=data.audit, key=key,
                                         images=[self.training_image, self.serving_image],
                                         artifacts=data.buckets.artifacts, signing_key=data.signing_key)
        image = self.training_image.build(self, "TrainingImageBuild", builder_arn=self.functions.image_builder.arn)
        jobs = LabelJobProps(image=image, buckets=data.buckets, network=self.network, key=key)
        topic_arn = self.on_call.topic.topic_arn
        self.label_ingest = LabelIngest(self, "LabelIngest", topic_arn=topic_arn, audit_arn=self.functions.audit.arn,
                                        props=jobs)
        if deployment.home:  # labels live where models are trained
            LabelInbox(self, "LabelInbox", room=self.functions.room, lake=data.buckets.lake, key=key,
                       machine=self.label_ingest.machine)
            LabelExpiry(self, "LabelExpiry", props=jobs, slugs=list(CONTRACTS), topic_arn=topic_arn)
            SparkJoin(self, "FeatureJoin", props=SparkJoinProps(
                buckets=data.buckets, network=self.network, key=key, topic_arn=topic_arn))

"""A story with a real-time endpoint: features, labels, pipeline, registry, release, drift, capture."""

from __future__ import annotations

from typing import Any

from aws_cdk import Stack
from mlplatform.capture_stream import CaptureStream
from mlplatform.drift_monitor import DriftMonitor, DriftMonitorProps
from mlplatform.endpoint_release import EndpointRelease
from mlplatform.feature_group import FeatureGroup
from mlplatform.kill_switches import KillSwitches
from mlplatform.label_platform import FreezeJob, LabelJobProps
from mlplatform.model_registry import ModelRegistry
from mlplatform.realtime_endpoint import RealtimeEndpoint, RealtimeEndpointProps
from mlplatform.receive_workflow import ReceiveWorkflow, ReceiveWorkflowProps
from mlplatform.retrain_workflow import RetrainWorkflow, RetrainWorkflowProps
from mlplatform.story_functions import StoryFunctions, StoryFunctionsProps
from mlplatform.training_pipeline import TrainingPipeline, TrainingPipelineProps

from constructs import Construct
from contracts import naming
from contracts.deployments import Deployment
from contracts.story import StoryContract
from stacks.data import DataStack
from stacks.platform import PlatformStack


class RealtimeStoryStack(Stack):
    def __init__(self, scope: Construct, id_: str, *, story: StoryContract, deployment: Deployment, data: DataStack,
                 platform: PlatformStack, **options: Any) -> None:
        super().__init__(scope, id_, **options)
        key, buckets, network, topic_arn = data.key, data.buckets, platform.network, platform.on_call.topic.topic_arn
        builder = platform.functions.image_builder.arn
        training_image = platform.training_image.build(self, "TrainingImageBuild", builder_arn=builder)
        serving_image = platform.serving_image.build(self, "ServingImageBuild", builder_arn=builder)

        KillSwitches(self, "KillSwitches", flags=story.flags)
        for group in story.feature_groups:
            FeatureGroup(self, f"{naming.pascal(group.name)}Features", contract=group, lake=buckets.lake, key=key)
        registry = ModelRegistry(self, "Registry", slug=story.slug)
        CaptureStream(self, "Capture", slug=story.slug, bucket=buckets.capture, key=key)
        endpoint = RealtimeEndpoint(self, "Endpoint", props=RealtimeEndpointProps(
            story=story, image=serving_image, buckets=buckets, network=network, key=key, topic_arn=topic_arn))
        functions = StoryFunctions(self, "Functions", props=StoryFunctionsProps(
            story=story, deployment=deployment, buckets=buckets, control=data.control, audit=data.audit,
            registry=registry, key=key, signing_key=data.signing_key, serving_image=serving_image))

        shared = platform.functions
        release = EndpointRelease(self, "Release", story=story, serving_role_arn=endpoint.role.role_arn, key=key,
                                  functions={"ReleasePlan": functions.release_plan.arn,
                                             "ReleaseCheck": functions.release_check.arn,
                                             "CanaryJudge": functions.canary_judge.arn,
                                             "KillSwitches": shared.kill_switches.arn})
        self.retrain = RetrainWorkflow(self, "Retrain", props=RetrainWorkflowProps(
            story=story, deployment=deployment, release=release.machine, topic_arn=topic_arn, key=key,
            freeze=FreezeJob(self, "Freeze", story=story, props=LabelJobProps(
                image=training_image, buckets=buckets, network=network, key=key)),
            pipeline=TrainingPipeline(self, "Training", props=TrainingPipelineProps(
                story=story, image=training_image, buckets=buckets, network=network, key=key)),
            functions={"Lease": shared.lease.arn, "KillSwitches": shared.kill_switches.arn,
                       "Audit": shared.audit.arn, "RunPlan": functions.run_plan.arn, "Judge": functions.judge.arn,
                       "Publish": functions.publish.arn, "Promote": functions.promote.arn,
                       **({"Announce": functions.announce.arn} if deployment.home else {})}))
        if not deployment.home:
            ReceiveWorkflow(self, "Receive", props=ReceiveWorkflowProps(
                story=story, release=release.machine, topic_arn=topic_arn, key=key,
                functions={"Lease": shared.lease.arn, "KillSwitches": shared.kill_switches.arn,
                           "Audit": shared.audit.arn, "Promote": functions.promote.arn,
                           "ReceivePlan": functions.receive_plan.arn, "ReceiveCopy": functions.receive_copy.arn}))
        DriftMonitor(self, "Drift", props=DriftMonitorProps(
            story=story, deployment=deployment, topic_arn=topic_arn, monitor=functions.drift_monitor,
            trigger=functions.drift_trigger(machine_arn=self.retrain.machine.arn)))
        self.story, self.release = story, release.machine

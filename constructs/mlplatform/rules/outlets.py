"""Residency: kinds of resources that copy, export or subscribe beyond their region, whatever they name."""

from __future__ import annotations

import re
from collections.abc import Iterator

from mlplatform.rules.regions import RESIDENCY
from mlplatform.rules.rule import Finding, rule
from mlplatform.rules.templates import Deployed, strings

# Type -> the property that copies into other regions, or None when the type itself does.
_COPIES: dict[str, str | None] = {
    "AWS::S3::Bucket": "ReplicationConfiguration",
    "AWS::S3::MultiRegionAccessPoint": None,
    "AWS::DynamoDB::GlobalTable": None,
    "AWS::KMS::Key": "MultiRegion",
    "AWS::KMS::ReplicaKey": None,
    "AWS::ECR::ReplicationConfiguration": None,
    "AWS::SecretsManager::Secret": "ReplicaRegions",
    "AWS::Backup::BackupPlan": "BackupPlan.BackupPlanRule.0.CopyActions",
    "AWS::ElastiCache::GlobalReplicationGroup": None,
    "AWS::Events::Endpoint": None,  # a global endpoint replicates its events
}
_EXPORTS = {
    "AWS::Events::ApiDestination", "AWS::Events::Connection", "AWS::CloudWatch::MetricStream", "AWS::Logs::Destination",
    "AWS::Oam::Link", "AWS::RAM::ResourceShare", "AWS::Lambda::Url", "AWS::EC2::NatGateway",
    "AWS::EC2::InternetGateway", "AWS::EC2::VPCPeeringConnection", "AWS::EC2::TransitGatewayAttachment",
    "AWS::DataSync::Task",
}
_HIDDEN = ("AWS::CloudFormation::Stack", "AWS::CloudFormation::StackSet", "AWS::CloudFormation::Macro")
_STAYS = {"sqs", "lambda", "firehose"}  # an address elsewhere is found by its region
_VENDORS = ("ai21", "amazon", "anthropic", "cohere", "deepseek", "meta", "mistral", "openai", "qwen", "stability",
            "twelvelabs", "writer")
_PROFILE = re.compile(rf"\b(?:apac|jp|global|us|eu|au|us-gov)\.(?:{'|'.join(_VENDORS)})\.|:inference-profile/|"
                      r"InferenceProfile|[iI]nference[-_]?[rR]outer")
# Quicker to look for than the pattern, and in every text that it matches.
_HINTS = (*(f".{vendor}." for vendor in _VENDORS), "nference-profile", "nferenceProfile", "outer")


@rule("ResidencyNoReplication", concern=RESIDENCY,
      why="replication carries every object, row, secret or key to a second region",
      mend="remove it: versions, point-in-time recovery and retained buckets cover loss within the region; models "
           "reach other regions as signed copies")
def replication(deployed: Deployed) -> Iterator[Finding]:
    for type_, where in _COPIES.items():
        for resource in deployed.of_type(type_):
            if where is None:
                yield Finding(on=resource, where="Type", what=f"{type_} spans regions")
            elif resource.get(where):
                yield Finding(on=resource, where=f"Properties.{where}", what="copies into other regions")


@rule("ResidencyNoExport", concern=RESIDENCY,
      why="data that leaves by a web hook, a shared link or the internet is out of the region's reach",
      mend="deliver to S3, SQS, Lambda or a state machine of this deployment")
def exports(deployed: Deployed) -> Iterator[Finding]:
    for resource in deployed.of_type(*sorted(_EXPORTS)):
        yield Finding(on=resource, where="Type", what=f"{resource.type} leads out of the deployment")
    for stream in deployed.of_type("AWS::KinesisFirehose::DeliveryStream"):
        for name in stream.properties:
            if name.endswith("DestinationConfiguration") and "S3" not in name:
                yield Finding(on=stream, where=f"Properties.{name}", what="delivers to something else than S3")


@rule("ResidencyNoHiddenTemplate", concern=RESIDENCY,
      why="nested stacks, stack sets and macros bring resources that no rule has read, stack sets in any region",
      mend="make the resources in a stack of the deployment's stage")
def hidden(deployed: Deployed) -> Iterator[Finding]:
    for resource in deployed.of_type(*_HIDDEN):
        yield Finding(on=resource, where="Type", what=f"what {resource.type} brings can't be read here")


@rule("ResidencySubscription", concern=RESIDENCY,
      why="mail, text messages and web hooks carry a notification to wherever their reader is",
      mend="subscribe a queue or function of this deployment; people's subscriptions belong to the on-call team, "
           "not to a template")
def subscriptions(deployed: Deployed) -> Iterator[Finding]:
    own = deployed.deployment.region
    for subscription in deployed.of_type("AWS::SNS::Subscription"):
        protocol, region = subscription.text("Protocol"), subscription.text("Region") or own
        if protocol not in _STAYS:
            yield Finding(on=subscription, where="Properties.Protocol",
                          what=f"{protocol} leaves the region: allowed are {', '.join(sorted(_STAYS))}")
        if region != own:
            yield Finding(on=subscription, where="Properties.Region", what=f"listens to a topic in {region}, not {own}")
    for topic in deployed.of_type("AWS::SNS::Topic"):
        for i, inline in enumerate(topic.get("Subscription") or []):
            if inline.get("Protocol") not in _STAYS:
                yield Finding(on=topic, where=f"Properties.Subscription.{i}.Protocol",
                              what=f"{inline.get('Protocol')} leaves the region")


@rule("ResidencyOneRegionInference", concern=RESIDENCY,
      why="an inference profile or a cross-region router answers from whatever region has room, prompt included",
      mend="call a model by its plain id in this region, for example anthropic.claude-..., on an endpoint of one "
           "region")
def inference(deployed: Deployed) -> Iterator[Finding]:
    for stack in deployed.stacks:
        if not any(hint in stack.raw for hint in _HINTS) or not _PROFILE.search(stack.raw):
            continue
        for resource in stack.resources.values():
            named = _PROFILE.search(resource.type)
            if named:
                yield Finding(on=resource, where="Type", what=f"{resource.type} may answer from another region")
            for where, text in strings(resource.properties, "Properties"):
                match = _PROFILE.search(text)
                if match:
                    yield Finding(on=resource, where=where, what=f"{match.group()!r} may answer from another region")


@rule("ResidencyOneRegionTrail", concern=RESIDENCY,
      why="a multi-region trail writes what happens in every region, keys and object names included, into one bucket",
      mend="IsMultiRegionTrail: false; each deployment keeps its own trail")
def trails(deployed: Deployed) -> Iterator[Finding]:
    for trail in deployed.of_type("AWS::CloudTrail::Trail"):
        for name in ("IsMultiRegionTrail", "IsOrganizationTrail"):
            if trail.get(name):
                yield Finding(on=trail, where=f"Properties.{name}", what="collects other regions' or accounts' events")
    for store in deployed.of_type("AWS::CloudTrail::EventDataStore"):
        if store.get("MultiRegionEnabled") is not False:  # true unless it says otherwise
            yield Finding(on=store, where="Properties.MultiRegionEnabled", what="collects other regions' events")

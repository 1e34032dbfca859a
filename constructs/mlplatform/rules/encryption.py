"""Encryption at rest under the deployment's own key: on resources, and on what workflows and pipelines make."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from contracts import naming
from contracts.instances import takes_volume_key
from mlplatform.rules.rule import Finding, rule
from mlplatform.rules.serving import sagemaker_requests, specs
from mlplatform.rules.templates import Deployed, Resource, dig

_CONCERN = "encryption with the region's key"
_TAKES_A_KEY = "ml.m5.large"  # stands for an instance type that is not said


@dataclass(frozen=True)
class _KeyAt:
    type: str
    where: str
    when: str = ""  # only where this property is set


_KEYS = (
    _KeyAt("AWS::S3::Bucket",
           "BucketEncryption.ServerSideEncryptionConfiguration.0.ServerSideEncryptionByDefault.KMSMasterKeyID"),
    _KeyAt("AWS::DynamoDB::Table", "SSESpecification.KMSMasterKeyId"),
    _KeyAt("AWS::SQS::Queue", "KmsMasterKeyId"),
    _KeyAt("AWS::SNS::Topic", "KmsMasterKeyId"),
    _KeyAt("AWS::Logs::LogGroup", "KmsKeyId"),
    _KeyAt("AWS::KinesisFirehose::DeliveryStream", "DeliveryStreamEncryptionConfigurationInput.KeyARN"),
    _KeyAt("AWS::KinesisFirehose::DeliveryStream", "ExtendedS3DestinationConfiguration.EncryptionConfiguration."
           "KMSEncryptionConfig.AWSKMSKeyARN"),
    _KeyAt("AWS::Kinesis::Stream", "StreamEncryption.KeyId"),
    _KeyAt("AWS::SageMaker::FeatureGroup", "OnlineStoreConfig.SecurityConfig.KmsKeyId", "OnlineStoreConfig"),
    _KeyAt("AWS::SageMaker::FeatureGroup", "OfflineStoreConfig.S3StorageConfig.KmsKeyId", "OfflineStoreConfig"),
    _KeyAt("AWS::Lambda::Function", "KmsKeyArn", "Environment"),
    _KeyAt("AWS::StepFunctions::StateMachine", "EncryptionConfiguration.KmsKeyId"),
    _KeyAt("AWS::ECR::Repository", "EncryptionConfiguration.KmsKey"),
    _KeyAt("AWS::CodeBuild::Project", "EncryptionKey"),
    _KeyAt("AWS::SecretsManager::Secret", "KmsKeyId"),
    _KeyAt("AWS::ElastiCache::ReplicationGroup", "KmsKeyId"),
    _KeyAt("AWS::ElastiCache::ServerlessCache", "KmsKeyId"),
    _KeyAt("AWS::OpenSearchService::Domain", "EncryptionAtRestOptions.KmsKeyId"),
    _KeyAt("AWS::EMRServerless::Application", "MonitoringConfiguration.S3MonitoringConfiguration.EncryptionKeyArn",
           "MonitoringConfiguration.S3MonitoringConfiguration"),
    _KeyAt("AWS::Glue::SecurityConfiguration", "EncryptionConfiguration.S3Encryptions.0.KmsKeyArn"),
)


def _is_own_key(deployed: Deployed, resource: Resource, value: Any) -> bool:
    key = deployed.target(resource.stack, value)
    if key is not None and key.type == "AWS::KMS::Alias":
        key = deployed.target(key.stack, key.get("TargetKeyId"))
    return key is not None and key.type == "AWS::KMS::Key" and key.get("KeyUsage") in (None, "ENCRYPT_DECRYPT")


def _wrong(resource: Resource, value: Any) -> str:
    return f"must be the deployment's own symmetric key, is {'none' if value is None else resource.stack.text(value)}"


@rule("EncryptedWithOwnKey", concern=_CONCERN,
      why="only a key of the deployment lets its owner see, limit and end every reading; AWS's own key does not",
      mend="pass the construct the deployment's DataKey (data.key); its policy says which services may use it")
def stores(deployed: Deployed) -> Iterator[Finding]:
    for place in _KEYS:
        for resource in deployed.of_type(place.type):
            value = resource.get(place.where)
            if (not place.when or resource.get(place.when)) and not _is_own_key(deployed, resource, value):
                yield Finding(on=resource, where=f"Properties.{place.where}", what=_wrong(resource, value))


# Request -> (where its output key is, where its fleet is). The key of a fleet's volume lies beside the instance type.
_JOBS = {
    "createProcessingJob": ("ProcessingOutputConfig.KmsKeyId", "ProcessingResources.ClusterConfig"),
    "createTrainingJob": ("OutputDataConfig.KmsKeyId", "ResourceConfig"),
    "createTransformJob": ("TransformOutput.KmsKeyId", "TransformResources"),
}


@rule("JobsEncryptWithOwnKey", concern=_CONCERN,
      why="jobs and endpoints are made at run time, so no property of a template says how their disks are encrypted",
      mend="give output, volume and endpoint config the deployment's key; instances with a local disk take none "
           "(contracts.instances)")
def jobs(deployed: Deployed) -> Iterator[Finding]:
    for request in sagemaker_requests(deployed):
        def own(value: Any, request: Any = request) -> bool:
            return _is_own_key(deployed, request.resource, request.value(value))

        if request.action in _JOBS:
            output, fleet = _JOBS[request.action]
            places = [output]
            if takes_volume_key(str(dig(request.parameters, f"{fleet}.InstanceType") or _TAKES_A_KEY)):
                places.append(f"{fleet}.VolumeKmsKeyId")
            yield from _unless_own(request.resource, request.where, request.parameters, places, own)
    yield from _endpoints(deployed)


def _unless_own(resource: Resource, where: str, parameters: Mapping[str, Any], places: list[str],
                own: Callable[[Any], bool]) -> Iterator[Finding]:
    for place in places:
        value = dig(parameters, place)
        if not own(value):
            yield Finding(on=resource, where=f"{where}.{place}", what=_wrong(resource, value))


def _endpoints(deployed: Deployed) -> Iterator[Finding]:
    """The spec names the key, and the machine that makes an endpoint config from it hands it on."""
    for spec in specs(deployed):
        if not _is_own_key(deployed, spec.resource, spec.value.get("kms_key")):
            yield Finding(on=spec.resource, where="Properties.Value.kms_key",
                          what=_wrong(spec.resource, spec.value.get("kms_key")))
        if not takes_volume_key(spec.value["instance_type"]):
            continue
        for request in sagemaker_requests(deployed, "createEndpointConfig"):
            if request.resource.text("StateMachineName") == naming.release_state_machine(spec.value["story"]) \
                    and not {"KmsKeyId", "KmsKeyId.$"} & request.parameters.keys():
                yield Finding(on=request.resource, where=f"{request.where}.KmsKeyId",
                              what=f"no key, though {spec.value['instance_type']} takes one")
    for config in deployed.of_type("AWS::SageMaker::EndpointConfig"):
        takes = (takes_volume_key(v.get("InstanceType", _TAKES_A_KEY)) for v in config.get("ProductionVariants") or [])
        if any(takes) and not _is_own_key(deployed, config, config.get("KmsKeyId")):
            yield Finding(on=config, where="Properties.KmsKeyId", what=_wrong(config, config.get("KmsKeyId")))

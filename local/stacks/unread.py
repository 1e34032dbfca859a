"""Finds properties that a provisioner never looked at, so that a setting without effect is refused, not ignored.

The properties are handed over in a dictionary that remembers what was read; copying or iterating it counts as
reading everything.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

# Settings that change nothing on one machine; each is true on AWS and needs nothing here.
_WITHOUT_EFFECT = {
    "*": {"Tags", "Description", "Comment"},
    "AWS::CodeBuild::Project": {"Cache", "LogsConfig", "ConcurrentBuildLimit", "Visibility", "BadgeEnabled",
                                "QueuedTimeoutInMinutes", "VpcConfig", "TimeoutInMinutes", "AutoRetryLimit"},
    "AWS::DynamoDB::Table": {"WarmThroughput", "OnDemandThroughput", "TableClass", "ContributorInsightsSpecification",
                             "KinesisStreamSpecification"},
    "AWS::EC2::Subnet": {"AvailabilityZoneId", "PrivateDnsNameOptionsOnLaunch"},
    "AWS::EC2::VPC": {"InstanceTenancy"},
    "AWS::EC2::VPCEndpoint": {"DnsOptions", "IpAddressType"},
    "AWS::Glue::Database": {"CatalogId"},  # the account's own catalogue is the only one
    "AWS::IAM::Role": {"MaxSessionDuration"},
    "AWS::KMS::Key": {"PendingWindowInDays", "BypassPolicyLockoutSafetyCheck", "RotationPeriodInDays"},
    "AWS::Lambda::Function": {"Architectures", "RuntimeManagementConfig", "VpcConfig", "KmsKeyArn", "RecursiveLoop",
                              "FileSystemConfigs", "TracingConfig", "CodeSigningConfigArn"},
    "AWS::Logs::LogGroup": {"LogGroupClass", "DataProtectionPolicy", "FieldIndexPolicies", "KmsKeyId",
                            "DeletionProtectionEnabled"},
    "AWS::S3::Bucket": {"AccelerateConfiguration", "AnalyticsConfigurations", "IntelligentTieringConfigurations",
                        "InventoryConfigurations", "MetricsConfigurations", "AccessControl"},
    "AWS::SNS::Topic": {"KmsMasterKeyId", "TracingConfig", "SignatureVersion", "DeliveryStatusLogging"},
    "AWS::SQS::Queue": {"RedriveAllowPolicy"},
    "AWS::SSM::Parameter": {"DataType", "Tier", "Policies"},
    "AWS::StepFunctions::StateMachine": {"TracingConfiguration"},
}


class Watched(dict):  # type: ignore[type-arg]
    def __init__(self, values: dict[str, Any]) -> None:
        super().__init__(values)
        self.read: set[str] = set()

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (self.copy(),)  # a copy is a plain dictionary

    def __getitem__(self, key: str) -> Any:
        self.read.add(key)
        return super().__getitem__(key)

    def get(self, key: str, default: Any = None) -> Any:
        self.read.add(key)
        return super().get(key, default)

    def pop(self, key: str, *default: Any) -> Any:
        self.read.add(key)
        return super().pop(key, *default)

    def __iter__(self) -> Iterator[str]:
        self.read.update(super().keys())
        return super().__iter__()

    def keys(self) -> Any:
        self.read.update(super().keys())
        return super().keys()

    def items(self) -> Any:
        self.read.update(super().keys())
        return super().items()

    def values(self) -> Any:
        self.read.update(super().keys())
        return super().values()

    def copy(self) -> dict[str, Any]:
        self.read.update(super().keys())
        return dict(super().items())

    def plain(self) -> dict[str, Any]:
        """The same properties, without counting as reading them."""
        return dict(dict.items(self))

    def unread(self, resource_type: str) -> list[str]:
        harmless = _WITHOUT_EFFECT["*"] | _WITHOUT_EFFECT.get(resource_type, set())
        return sorted(set(dict.keys(self)) - self.read - harmless)


def refuse_unread(resource_type: str, properties: Watched) -> None:
    left = properties.unread(resource_type)
    if left:
        raise ValueError(f"{resource_type}: {', '.join(left)} is not supported by the embedded CloudFormation; "
                         "leave it out, or ask for it")

"""The model package of a published model: what it carries, and found again before it is made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from contracts import naming

RECENT = 20  # a retry follows its first try closely; older packages need no look
MAX_PROPERTY_CHARS = 256  # of a CustomerMetadataProperties value


def package_request(
    *,
    group: str,
    image: str,
    model_uri: str,
    manifest_sha256: str,
    instance_type: str,
    properties: Mapping[str, str],
) -> dict[str, Any]:
    """CreateModelPackage. The client token comes from the digest: a repeat is the same package."""
    return {
        "ModelPackageGroupName": group,
        "ModelApprovalStatus": "PendingManualApproval",
        "ClientToken": manifest_sha256[:36],
        "InferenceSpecification": {
            "Containers": [
                {
                    "Image": image,
                    "ModelDataSource": {
                        "S3DataSource": {
                            "S3Uri": model_uri,
                            "S3DataType": "S3Prefix",
                            "CompressionType": "None",
                        }
                    },
                }
            ],
            "SupportedContentTypes": ["application/json"],
            "SupportedResponseMIMETypes": ["application/json"],
            "SupportedRealtimeInferenceInstanceTypes": [instance_type],
        },
        "ModelMetrics": {
            "ModelQuality": {"Statistics": _file(model_uri, naming.EVALUATION_FILE)},
            "ModelDataQuality": {"Statistics": _file(model_uri, naming.DRIFT_REFERENCE_FILE)},
        },
        "CustomerMetadataProperties": {
            "manifest_sha256": manifest_sha256,
            **{name: value[:MAX_PROPERTY_CHARS] for name, value in properties.items() if value},
        },
    }


def _file(model_uri: str, name: str) -> dict[str, str]:
    return {"ContentType": "application/json", "S3Uri": f"{model_uri.rstrip('/')}/{name}"}


def recent(sagemaker: Any, group: str) -> Iterator[dict[str, Any]]:
    """The packages of a group, newest first, each as DescribeModelPackage tells it."""
    listed = sagemaker.list_model_packages(
        ModelPackageGroupName=group, SortBy="CreationTime", SortOrder="Descending", MaxResults=RECENT
    )["ModelPackageSummaryList"]
    for summary in listed:
        yield sagemaker.describe_model_package(ModelPackageName=str(summary["ModelPackageArn"]))


def find(sagemaker: Any, group: str, manifest_sha256: str) -> dict[str, Any] | None:
    """The package whose manifest this is."""
    for package in recent(sagemaker, group):
        if package.get("CustomerMetadataProperties", {}).get("manifest_sha256") == manifest_sha256:
            return package
    return None


def find_or_create(sagemaker: Any, request: dict[str, Any]) -> str:
    """ARN of the package that the request describes."""
    found = find(sagemaker, request["ModelPackageGroupName"], request["CustomerMetadataProperties"]["manifest_sha256"])
    return str((found or sagemaker.create_model_package(**request))["ModelPackageArn"])

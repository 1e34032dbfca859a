"""The model package of a published model: found again before it is made."""

from __future__ import annotations

from typing import Any

RECENT = 20  # a retry follows its first try closely; older packages need no look


def find_or_create(sagemaker: Any, request: dict[str, Any]) -> str:
    """ARN of the package whose manifest this is."""
    wanted = request["CustomerMetadataProperties"]["manifest_sha256"]
    listed = sagemaker.list_model_packages(
        ModelPackageGroupName=request["ModelPackageGroupName"],
        SortBy="CreationTime",
        SortOrder="Descending",
        MaxResults=RECENT,
    )["ModelPackageSummaryList"]
    for summary in listed:
        arn = str(summary["ModelPackageArn"])
        found = sagemaker.describe_model_package(ModelPackageName=arn)
        if found.get("CustomerMetadataProperties", {}).get("manifest_sha256") == wanted:
            return arn
    return str(sagemaker.create_model_package(**request)["ModelPackageArn"])

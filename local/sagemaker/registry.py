"""Model registry: package groups, versioned packages, approval, and the event of each change."""

from __future__ import annotations

from typing import Any

from local.sagemaker import state, telemetry
from local.sagemaker.errors import ApiError, invalid, not_supported
from local.sagemaker.models import tag
from local.sagemaker.operations import TIMES, operation

_PAGE = "NextToken MaxResults SortBy SortOrder NameContains CreationTimeAfter CreationTimeBefore"
_KEPT = (
    "ModelPackageDescription", "InferenceSpecification", "ModelApprovalStatus", "MetadataProperties",
    "ModelMetrics", "Domain", "Task", "SamplePayloadUrl", "CustomerMetadataProperties", "DriftCheckBaselines",
    "SkipModelValidation", "SourceUri", "ModelLifeCycle", "ModelCard", "SecurityConfig",
)
_CREATOR = {"DomainId": "embedded", "UserProfileName": "embedded"}


@operation("CreateModelPackageGroup", "ModelPackageGroupName ModelPackageGroupDescription Tags")
def create_group(request: dict[str, Any]) -> dict[str, Any]:
    name = request["ModelPackageGroupName"]
    arn = state.arn("model-package-group", name)
    with state.LOCK:
        if name in state.store("model-package-group"):
            raise invalid(f"Model Package Group already exists: {arn}")
        state.store("model-package-group")[name] = {
            "ModelPackageGroupName": name, "ModelPackageGroupArn": arn, "CreationTime": state.now(),
            "ModelPackageGroupDescription": request.get("ModelPackageGroupDescription"),
            "ModelPackageGroupStatus": "Completed", "CreatedBy": _CREATOR, "_next": 1,
        }
    tag(arn, request)
    return {"ModelPackageGroupArn": arn}


def find_group(name: str) -> dict[str, Any]:
    record = state.store("model-package-group").get(state.arn_name(name, "model-package-group"))
    if record is None:
        raise invalid(f"ModelPackageGroup {state.arn('model-package-group', name)} does not exist.")
    return record


@operation("DescribeModelPackageGroup", "ModelPackageGroupName")
def describe_group(request: dict[str, Any]) -> dict[str, Any]:
    return state.public(find_group(request["ModelPackageGroupName"]))


@operation("ListModelPackageGroups", _PAGE)
def list_groups(request: dict[str, Any]) -> dict[str, Any]:
    return state.listing(
        list(state.store("model-package-group").values()), request, answer="ModelPackageGroupSummaryList",
        summary=("ModelPackageGroupName", "ModelPackageGroupArn", "ModelPackageGroupDescription", "CreationTime",
                 "ModelPackageGroupStatus"),
    )


@operation("DeleteModelPackageGroup", "ModelPackageGroupName")
def delete_group(request: dict[str, Any]) -> dict[str, Any]:
    with state.LOCK:
        group = find_group(request["ModelPackageGroupName"])
        name = group["ModelPackageGroupName"]
        if any(p.get("ModelPackageGroupName") == name for p in state.store("model-package").values()):
            text = f"Model Package Group {name} still has model packages; delete them first"
            raise ApiError("ConflictException", text)
        del state.store("model-package-group")[name]
    return {}


@operation(
    "CreateModelPackage",
    "ModelPackageGroupName ModelPackageDescription InferenceSpecification ModelApprovalStatus MetadataProperties "
    "ModelMetrics ClientToken Domain Task SamplePayloadUrl CustomerMetadataProperties DriftCheckBaselines "
    "SkipModelValidation SourceUri ModelLifeCycle ModelCard SecurityConfig Tags",
)
def create_package(request: dict[str, Any]) -> dict[str, Any]:
    """A new version in its group. The same ClientToken gives the same version again."""
    if "ModelPackageGroupName" not in request:
        raise not_supported("A model package without ModelPackageGroupName")
    with state.LOCK:
        group = find_group(request["ModelPackageGroupName"])
        name, token = group["ModelPackageGroupName"], request.get("ClientToken")
        for earlier in _versions(name):
            if token and earlier["_token"] == token:
                return {"ModelPackageArn": earlier["ModelPackageArn"]}
        version = group["_next"]
        group["_next"] = version + 1
        arn, stamp = state.arn("model-package", f"{name}/{version}"), state.now()
        record = {
            "ModelPackageName": name, "ModelPackageGroupName": name, "ModelPackageVersion": version,
            "ModelPackageArn": arn, "CreationTime": stamp, "LastModifiedTime": stamp, "CreatedBy": _CREATOR,
            "ModelApprovalStatus": "PendingManualApproval", "ModelPackageStatus": "Completed",
            "ModelPackageStatusDetails": {"ValidationStatuses": [], "ImageScanStatuses": []},
            "_token": token, **{k: request[k] for k in _KEPT if k in request},
        }
        state.store("model-package")[f"{name}/{version}"] = record
    tag(arn, request)
    _announce(record, ["ModelPackageStatus", "ModelApprovalStatus"])
    return {"ModelPackageArn": arn}


def _versions(group: str) -> list[dict[str, Any]]:
    return [p for p in state.store("model-package").values() if p["ModelPackageGroupName"] == group]


def find_package(name: str) -> dict[str, Any]:
    record = state.store("model-package").get(state.arn_name(name, "model-package"))
    if record is None:
        raise invalid(f"ModelPackage {name} does not exist.")
    return record


def _announce(record: dict[str, Any], changed: list[str]) -> None:
    detail = {**state.public(record), "UpdatedModelPackageFields": changed}
    telemetry.event("SageMaker Model Package State Change", detail, record["ModelPackageArn"])


@operation("DescribeModelPackage", "ModelPackageName")
def describe_package(request: dict[str, Any]) -> dict[str, Any]:
    return state.public(find_package(request["ModelPackageName"]))


@operation("BatchDescribeModelPackage", "ModelPackageArnList")
def batch_describe(request: dict[str, Any]) -> dict[str, Any]:
    found, errors = {}, {}
    for arn in request["ModelPackageArnList"]:
        try:
            found[arn] = state.public(find_package(arn))
        except ApiError as error:
            errors[arn] = {"ErrorCode": error.code, "ErrorResponse": error.message}
    return {"ModelPackageSummaries": found, "BatchDescribeModelPackageErrorMap": errors}


@operation(
    "UpdateModelPackage",
    "ModelPackageArn ModelApprovalStatus ApprovalDescription CustomerMetadataProperties "
    "CustomerMetadataPropertiesToRemove SourceUri ModelLifeCycle ModelCard InferenceSpecification ClientToken",
)
def update_package(request: dict[str, Any]) -> dict[str, Any]:
    with state.LOCK:
        record = find_package(request["ModelPackageArn"])
        members = (
            "ModelApprovalStatus", "ApprovalDescription", "SourceUri", "ModelLifeCycle", "ModelCard",
            "InferenceSpecification",
        )
        changed = [k for k in members if k in request and record.get(k) != request[k]]
        record.update({k: request[k] for k in changed})
        properties = {**record.get("CustomerMetadataProperties", {}), **request.get("CustomerMetadataProperties", {})}
        for key in request.get("CustomerMetadataPropertiesToRemove", []):
            properties.pop(key, None)
        if properties != record.get("CustomerMetadataProperties", {}):
            record["CustomerMetadataProperties"] = properties
            changed.append("CustomerMetadataProperties")
        record.update(LastModifiedTime=state.now(), LastModifiedBy=_CREATOR)
    if changed:
        _announce(record, changed)
    return {"ModelPackageArn": record["ModelPackageArn"]}


@operation("DeleteModelPackage", "ModelPackageName")
def delete_package(request: dict[str, Any]) -> dict[str, Any]:
    record = find_package(request["ModelPackageName"])
    del state.store("model-package")[f"{record['ModelPackageGroupName']}/{record['ModelPackageVersion']}"]
    return {}


@operation("ListModelPackages", f"{_PAGE} {TIMES} ModelPackageGroupName ModelApprovalStatus ModelPackageType")
def list_packages(request: dict[str, Any]) -> dict[str, Any]:
    """Without a group AWS lists unversioned packages, and there are none here."""
    if request.get("ModelPackageType", "Versioned") == "Unversioned" or (
        "ModelPackageGroupName" not in request and "ModelPackageType" not in request
    ):
        return {"ModelPackageSummaryList": []}
    rows = list(state.store("model-package").values())
    if "ModelPackageGroupName" in request:
        rows = _versions(find_group(request["ModelPackageGroupName"])["ModelPackageGroupName"])
    if "ModelApprovalStatus" in request:
        rows = [r for r in rows if r["ModelApprovalStatus"] == request["ModelApprovalStatus"]]
    rows.sort(key=lambda r: r["ModelPackageVersion"])  # versions of one millisecond keep their order
    if request.get("SortOrder", "Descending") == "Descending":
        rows.reverse()
    return state.listing(
        rows, request, answer="ModelPackageSummaryList",
        summary=("ModelPackageGroupName", "ModelPackageVersion", "ModelPackageArn", "ModelPackageDescription",
                 "CreationTime", "ModelPackageStatus", "ModelApprovalStatus"),
    )

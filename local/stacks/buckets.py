"""AWS::S3::Bucket: encryption, life cycle, logging, ownership and tags, which ministack's handler passes over."""

from __future__ import annotations

from typing import Any

from local.stacks.by_api import client


def handlers() -> dict[str, dict[str, Any]]:
    from ministack.services.cloudformation import provisioners

    own = dict(provisioners._RESOURCE_HANDLERS["AWS::S3::Bucket"])

    def create(logical_id: str, props: dict[str, Any], stack_name: str) -> Any:
        created = own["create"](logical_id, props, stack_name)
        _apply(created[0], {}, props)
        return created

    def update(physical_id: str, old: dict[str, Any], new: dict[str, Any], stack_name: str) -> Any:
        updated = own["update"](physical_id, old, new, stack_name)
        _apply(updated[0], old if updated[0] == physical_id else {}, new)
        return updated

    return {"AWS::S3::Bucket": {**own, "create": create, "update": update}}


def _apply(bucket: str, old: dict[str, Any], new: dict[str, Any]) -> None:
    if new.get("ObjectLockEnabled") in (True, "true") or "ObjectLockConfiguration" in new:
        raise ValueError("AWS::S3::Bucket: object lock is not supported by the embedded CloudFormation")
    if "ReplicationConfiguration" in new:
        raise ValueError("AWS::S3::Bucket: replication is not supported by the embedded CloudFormation")
    for name, put, delete in _CONFIGURATIONS:
        if new.get(name) and new.get(name) != old.get(name):
            put(bucket, new[name])
        elif name in old and not new.get(name):
            delete(bucket)


def _put_encryption(bucket: str, value: dict[str, Any]) -> None:
    rules = [{("ApplyServerSideEncryptionByDefault" if k == "ServerSideEncryptionByDefault" else k): v
              for k, v in rule.items()} for rule in value["ServerSideEncryptionConfiguration"]]
    for rule in rules:
        if "BucketKeyEnabled" in rule:
            rule["BucketKeyEnabled"] = str(rule["BucketKeyEnabled"]).lower() == "true"
    client("s3").put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": rules})


def _put_lifecycle(bucket: str, value: dict[str, Any]) -> None:
    client("s3").put_bucket_lifecycle_configuration(
        Bucket=bucket, LifecycleConfiguration={"Rules": [_lifecycle_rule(rule) for rule in value["Rules"]]})


def _lifecycle_rule(rule: dict[str, Any]) -> dict[str, Any]:
    """CloudFormation spells the API's nested members flat."""
    out: dict[str, Any] = {"Status": rule["Status"], **({"ID": rule["Id"]} if "Id" in rule else {})}
    conditions: dict[str, Any] = {}
    if rule.get("Prefix"):
        conditions["Prefix"] = rule["Prefix"]
    if rule.get("TagFilters"):
        conditions["Tags"] = rule["TagFilters"]
    for size in ("ObjectSizeGreaterThan", "ObjectSizeLessThan"):
        if size in rule:
            conditions[size] = int(rule[size])
    if len(conditions) > 1 or "Tags" in conditions:
        out["Filter"] = {"And": conditions} if len(conditions) > 1 or len(conditions["Tags"]) > 1 else {
            "Tag": conditions["Tags"][0]}
    else:
        out["Filter"] = conditions or {"Prefix": ""}
    expiration: dict[str, Any] = {}
    if "ExpirationInDays" in rule:
        expiration["Days"] = int(rule["ExpirationInDays"])
    if "ExpirationDate" in rule:
        expiration["Date"] = rule["ExpirationDate"]
    if str(rule.get("ExpiredObjectDeleteMarker", False)).lower() == "true":
        expiration["ExpiredObjectDeleteMarker"] = True
    if expiration:
        out["Expiration"] = expiration
    if "NoncurrentVersionExpiration" in rule:
        out["NoncurrentVersionExpiration"] = {k: int(v) for k, v in rule["NoncurrentVersionExpiration"].items()}
    elif "NoncurrentVersionExpirationInDays" in rule:
        out["NoncurrentVersionExpiration"] = {"NoncurrentDays": int(rule["NoncurrentVersionExpirationInDays"])}
    if "AbortIncompleteMultipartUpload" in rule:
        out["AbortIncompleteMultipartUpload"] = {
            "DaysAfterInitiation": int(rule["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"])}
    if "Transitions" in rule:
        out["Transitions"] = [{"StorageClass": t["StorageClass"], "Days": int(t["TransitionInDays"])}
                              for t in rule["Transitions"]]
    if "NoncurrentVersionTransitions" in rule:
        out["NoncurrentVersionTransitions"] = [
            {"StorageClass": t["StorageClass"], "NoncurrentDays": int(t["TransitionInDays"])}
            for t in rule["NoncurrentVersionTransitions"]]
    return out


def _put_logging(bucket: str, value: dict[str, Any]) -> None:
    client("s3").put_bucket_logging(Bucket=bucket, BucketLoggingStatus={"LoggingEnabled": {
        "TargetBucket": value.get("DestinationBucketName") or bucket, "TargetPrefix": value.get("LogFilePrefix", "")}})


def _put_ownership(bucket: str, value: dict[str, Any]) -> None:
    client("s3").put_bucket_ownership_controls(Bucket=bucket, OwnershipControls=value)


def _put_tags(bucket: str, value: list[dict[str, str]]) -> None:
    client("s3").put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": value})


_CONFIGURATIONS = (
    ("BucketEncryption", _put_encryption, lambda bucket: client("s3").delete_bucket_encryption(Bucket=bucket)),
    ("LifecycleConfiguration", _put_lifecycle, lambda bucket: client("s3").delete_bucket_lifecycle(Bucket=bucket)),
    ("LoggingConfiguration", _put_logging, lambda bucket: client("s3").put_bucket_logging(
        Bucket=bucket, BucketLoggingStatus={})),
    ("OwnershipControls", _put_ownership, lambda bucket: client("s3").delete_bucket_ownership_controls(Bucket=bucket)),
    ("Tags", _put_tags, lambda bucket: client("s3").delete_bucket_tagging(Bucket=bucket)),
)

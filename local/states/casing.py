"""Between ASL's PascalCase and what botocore takes and gives.

On AWS an integration is called with PascalCase members (`ExecutionArn`, `SseKmsKeyId`), whatever the service's
own spelling (`executionArn`, `SSEKMSKeyId`), and times come back as strings.
"""

from __future__ import annotations

import datetime
import json
import re
from functools import cache, lru_cache
from typing import Any

import botocore.session
from botocore.model import ListShape, MapShape, OperationModel, ServiceModel, Shape, StructureShape

_WORDS = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|[0-9]+")


class UnknownParameter(ValueError):
    """A member that the operation does not have; AWS refuses the call."""


@cache
def service_model(service: str) -> ServiceModel:
    return botocore.session.get_session().get_service_model(service)


_SERVICE_NAMES = {"cloudwatchlogs": "logs", "eventbridge": "events", "sfn": "stepfunctions", "states": "stepfunctions",
                  "elasticloadbalancingv2": "elbv2", "costexplorer": "ce"}  # where ASL and boto3 differ


@cache
def boto_service(name: str) -> str:
    """`sagemakerruntime` -> `sagemaker-runtime`; ValueError for a service that boto3 does not know."""
    if name in _SERVICE_NAMES:
        return _SERVICE_NAMES[name]
    for known in botocore.session.get_session().get_available_services():
        if known.replace("-", "") == name.lower():
            return known
    raise ValueError(f"there is no AWS service {name!r} for a task resource arn:aws:states:::aws-sdk:{name}:...")


@cache
def error_prefix(name: str) -> str:
    """`ssm` -> `Ssm`, `dynamodb` -> `DynamoDb`: the Java SDK's class names begin so."""
    return "".join(pascal(word) for word in str(service_model(boto_service(name)).service_id).split())


def operation(service: str, action: str) -> OperationModel:
    """The operation that ASL calls `startExecution` or `getS3Object`; ValueError where there is none."""
    wanted = _plain(action)
    for name in service_model(service).operation_names:
        if _plain(name) == wanted:
            return service_model(service).operation_model(name)
    raise ValueError(f"the service {service} has no operation {action}")


def to_boto(value: Any, shape: Shape | None) -> Any:
    """Rename members to the service's spelling; text and bytes are made where a document was given."""
    if shape is None or value is None:
        return value
    if isinstance(shape, StructureShape) and isinstance(value, dict):
        spelling = {_plain(name): name for name in shape.members}
        if shape.name == "AttributeValue":
            spelling["nul"] = "NULL"  # DynamoDB's NULL is Nul in the Java SDK, and so in ASL
        renamed = {}
        for key, member in value.items():
            name = spelling.get(_plain(key))
            if name is None:
                raise UnknownParameter(f'The field "{key}" is not supported by Step Functions '
                                       f"(allowed here: {', '.join(sorted(pascal(m) for m in shape.members))})")
            renamed[name] = to_boto(member, shape.members[name])
        return renamed
    if isinstance(shape, ListShape) and isinstance(value, list):
        return [to_boto(item, shape.member) for item in value]
    if isinstance(shape, MapShape) and isinstance(value, dict):
        return {key: to_boto(item, shape.value) for key, item in value.items()}
    if shape.type_name == "string" and not isinstance(value, str):
        return json.dumps(value)
    if shape.type_name == "blob" and not isinstance(value, bytes):
        return value.encode() if isinstance(value, str) else json.dumps(value, separators=(",", ":")).encode()
    return value


def from_boto(value: Any, shape: Shape | None, *, epoch_ms: bool = False) -> Any:
    """Rename members to PascalCase and make plain JSON of times, bytes and streams."""
    if isinstance(value, datetime.datetime):
        return int(value.timestamp() * 1000) if epoch_ms else iso(value)
    if hasattr(value, "read"):
        return value.read().decode("utf-8", errors="replace")
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace")
    if isinstance(shape, StructureShape) and isinstance(value, dict):
        if shape.name == "AttributeValue" and epoch_ms:
            return {key: from_boto(item, shape.members.get(key), epoch_ms=True) for key, item in value.items()}
        return {pascal(key): from_boto(item, shape.members.get(key), epoch_ms=epoch_ms)
                for key, item in value.items() if key != "ResponseMetadata"}
    if isinstance(shape, ListShape) and isinstance(value, list):
        return [from_boto(item, shape.member, epoch_ms=epoch_ms) for item in value]
    if isinstance(shape, MapShape) and isinstance(value, dict):
        return {key: from_boto(item, shape.value, epoch_ms=epoch_ms) for key, item in value.items()}
    return value


def iso(moment: datetime.datetime) -> str:
    """2026-11-23T11:41:49.123Z, as the SDK integrations print times."""
    utc = moment.astimezone(datetime.UTC)
    return utc.strftime("%Y-%m-%dT%H:%M:%S.") + f"{utc.microsecond // 1000:03d}Z"


@lru_cache(maxsize=4096)
def pascal(name: str) -> str:
    """`executionArn` -> `ExecutionArn`, `SSEKMSKeyId` -> `SsekmsKeyId`: the Java SDK's rule for runs of capitals."""
    if name == "NULL":
        return "Nul"
    return "".join(word[:1].upper() + word[1:].lower() for word in _WORDS.findall(name)) if name.isalnum() else name


@lru_cache(maxsize=4096)
def _plain(name: str) -> str:
    return name.replace("_", "").replace("-", "").lower()

"""Which resource a SageMaker call is authorised on: the ARN of the thing it names, `*` for lists."""

from __future__ import annotations

import json
from urllib.parse import unquote

# Lists of what belongs to one named thing are authorised on it.
_LISTS_OF_ONE = ("ListTags", "ListPipelineExecutionSteps", "ListModelPackages")
# What a group's versions are made and listed under; which ones is not known before.
_VERSIONS_OF_A_GROUP = ("CreateModelPackage", "ListModelPackages")
_REST = {"endpoints": "endpoint", "FeatureGroup": "feature-group"}
_MEMBERS = (  # request member -> ARN kind, the most specific first
    ("PipelineExecutionArn", ""), ("ModelPackageArn", ""), ("ResourceArn", ""),
    ("ModelPackageName", "model-package"), ("ModelPackageGroupName", "model-package-group"),
    ("TrainingJobName", "training-job"), ("ProcessingJobName", "processing-job"),
    ("TransformJobName", "transform-job"), ("PipelineName", "pipeline"), ("EndpointName", "endpoint"),
    ("EndpointConfigName", "endpoint-config"), ("FeatureGroupName", "feature-group"), ("ModelName", "model"),
)


def resource_arn(
    service: str, method: str, path: str, headers: dict, body: bytes, query: dict, region: str, account: str
) -> str | None:
    """The resource for ministack's IAM check; None for services that are not ours."""
    if service != "sagemaker":
        return None
    base = f"arn:aws:sagemaker:{region}:{account}:"
    operation = headers.get("x-amz-target", "").rpartition(".")[2]
    if not operation:
        parts = [unquote(p) for p in path.split("/") if p]
        kind = _REST.get(parts[0]) if len(parts) > 1 else None
        if kind is None:
            return _batch(body, base)
        name = "/".join(parts[1:]) if parts[1].startswith("arn:") else parts[1]
        return name if name.startswith("arn:") else f"{base}{kind}/{name}"
    if operation.startswith("List") and operation not in _LISTS_OF_ONE:
        return "*"
    try:
        request = json.loads(body or b"{}")
    except ValueError:
        return "*"
    group = request.get("ModelPackageGroupName")
    if operation in _VERSIONS_OF_A_GROUP and isinstance(group, str) and group:
        return f"{base}model-package/{group.rpartition('/')[2]}/*"
    for member, kind in _MEMBERS:
        value = request.get(member)
        if isinstance(value, str) and value:
            return value if value.startswith("arn:") or not kind else f"{base}{kind}/{value}"
    return "*"


def _batch(body: bytes, base: str) -> str:
    """BatchGetRecord names several groups; the first stands for the request."""
    try:
        names = [i["FeatureGroupName"] for i in json.loads(body or b"{}").get("Identifiers", [])]
    except (ValueError, KeyError, TypeError):
        return "*"
    return f"{base}feature-group/{names[0]}" if names else "*"

"""AWS::SageMaker::* for ministack's CloudFormation.

Model and EndpointConfig are immutable: any change replaces them. Pipeline and Endpoint change in place. A feature
group can only get more features; anything else would replace it, which a named resource refuses.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ministack.services.cloudformation import provisioners, stacks

from local.sagemaker import service, state
from local.sagemaker.errors import ApiError
from local.sagemaker.pipeline_values import coerce
from local.sagemaker.validation import service_model

Props = dict[str, Any]
_BUSY = ("Creating", "Updating", "RollingBack", "Deleting")
_POLL_S = 0.05


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One resource type: its API, what Ref and GetAtt answer, and which changes replace it."""

    name: str
    kind: str  # of its ARN
    ref_is_arn: bool
    attributes: tuple[str, ...] = ()
    replacing: tuple[str, ...] = ()
    request: Callable[[Props], Props] = field(default=lambda props: props)

    @property
    def name_member(self) -> str:
        return f"{self.name}Name"


def _call(operation: str, request: Props) -> Props:
    """CloudFormation sends numbers and booleans as text."""
    shape = service_model("sagemaker").operation_model(operation).input_shape
    known = {k: v for k, v in request.items() if k in shape.members}
    foreign = sorted(set(request) - set(known))
    if foreign:
        raise ValueError(f"property {', '.join(foreign)} is not supported by the embedded SageMaker ({operation})")
    try:
        return service.call(operation, coerce(known, shape))
    except ApiError as error:
        raise ValueError(f"{error.message} (Service: SageMaker, Error Code: {error.code})") from error


def _pipeline_request(props: Props) -> Props:
    body = props.get("PipelineDefinition", {})
    request = {k: v for k, v in props.items() if k != "PipelineDefinition"}
    if "PipelineDefinitionBody" in body:
        return {**request, "PipelineDefinition": body["PipelineDefinitionBody"]}
    place = dict(body.get("PipelineDefinitionS3Location", {}))
    if "Key" in place:
        place["ObjectKey"] = place.pop("Key")
    return {**request, "PipelineDefinitionS3Location": place}


_FEATURE_GROUP_FIXED = (
    "FeatureGroupName", "RecordIdentifierFeatureName", "EventTimeFeatureName", "OfflineStoreConfig", "RoleArn",
    "Description", "Tags",
)
_MODEL = (
    "ModelName", "ExecutionRoleArn", "PrimaryContainer", "Containers", "VpcConfig", "EnableNetworkIsolation", "Tags",
)
_CONFIG = (
    "EndpointConfigName", "ProductionVariants", "ShadowProductionVariants", "AsyncInferenceConfig", "KmsKeyId",
    "DataCaptureConfig", "VpcConfig", "EnableNetworkIsolation", "ExecutionRoleArn", "ExplainerConfig", "Tags",
)
KINDS = (
    Kind(name="FeatureGroup", kind="feature-group", ref_is_arn=False, attributes=("CreationTime", "FeatureGroupStatus"),
         replacing=_FEATURE_GROUP_FIXED),
    Kind(name="Pipeline", kind="pipeline", ref_is_arn=False, replacing=("PipelineName",), request=_pipeline_request),
    Kind(name="ModelPackageGroup", kind="model-package-group", ref_is_arn=True,
         attributes=("ModelPackageGroupArn", "ModelPackageGroupStatus", "CreationTime"),
         replacing=("ModelPackageGroupName", "ModelPackageGroupDescription")),
    Kind(name="Model", kind="model", ref_is_arn=True, attributes=("ModelName",), replacing=_MODEL),
    Kind(name="EndpointConfig", kind="endpoint-config", ref_is_arn=True, attributes=("EndpointConfigName",),
         replacing=_CONFIG),
    Kind(name="Endpoint", kind="endpoint", ref_is_arn=True, attributes=("EndpointName",), replacing=("EndpointName",)),
)


def _create(kind: Kind, logical_id: str, props: Props, stack_name: str) -> tuple[str, Props]:
    name = props.get(kind.name_member) or provisioners._physical_name(stack_name, logical_id, max_len=63)
    request = {**kind.request(props), kind.name_member: name}
    if kind.name == "Pipeline":
        request["ClientRequestToken"] = uuid.uuid4().hex
    if kind.name == "Endpoint":
        for later in ("DeploymentConfig", "RetainAllVariantProperties", "RetainDeploymentConfig"):
            request.pop(later, None)  # they say how to update, and there is nothing yet to update
    _call(f"Create{kind.name}", request)
    if kind.name == "Endpoint":
        _wait_endpoint(name, str(request["EndpointConfigName"]))
    return _answer(kind, name)


def _answer(kind: Kind, name: str) -> tuple[str, Props]:
    record = _call(f"Describe{kind.name}", {kind.name_member: name})
    attributes = {a: record[a] for a in kind.attributes}
    return (record[f"{kind.name}Arn"] if kind.ref_is_arn else name), attributes


def _wait_endpoint(name: str, config: str) -> None:
    """A roll-back is silent in the API; a stack must not take it for success."""
    while (record := state.store("endpoint").get(name)) and record["EndpointStatus"] in _BUSY:
        time.sleep(_POLL_S)
    if record is None or record["EndpointStatus"] != "InService":
        reason = (record or {}).get("FailureReason", "it is gone")
        raise ValueError(f"Endpoint {name} did not get into service: {reason}")
    if record["EndpointConfigName"] != config:
        raise ValueError(f"Endpoint {name} was rolled back to {record['EndpointConfigName']}; {config} was not taken")


def _update(kind: Kind, physical_id: str, old: Props, new: Props, stack_name: str) -> tuple[str, Props]:
    """What is left when nothing replacing changed."""
    name = state.arn_name(physical_id, kind.kind)
    _retag(kind, name, old, new)
    changed = {k: v for k, v in new.items() if old.get(k) != v and k not in ("Tags", kind.name_member)}
    if kind.name == "Pipeline" and changed:
        request = {k: v for k, v in _pipeline_request(new).items() if k not in ("Tags", "ClientRequestToken")}
        _call("UpdatePipeline", {**request, "PipelineName": name})
    elif kind.name == "Endpoint" and "EndpointConfigName" in changed:
        request = {k: v for k, v in new.items() if k != "Tags"}
        _call("UpdateEndpoint", {**request, "EndpointName": name})
        _wait_endpoint(name, new["EndpointConfigName"])
    elif kind.name == "FeatureGroup" and changed:
        _update_feature_group(name, old, new)
    return _answer(kind, name)


def _update_feature_group(name: str, old: Props, new: Props) -> None:
    known = {d["FeatureName"]: d for d in old["FeatureDefinitions"]}
    wanted = {d["FeatureName"]: d for d in new["FeatureDefinitions"]}
    lost = sorted(n for n, d in known.items() if wanted.get(n) != d)
    if lost:
        raise ValueError(f"Feature {', '.join(lost)} of {name} can't be removed or changed; features can only be added")
    request: Props = {"FeatureGroupName": name}
    if additions := [d for n, d in wanted.items() if n not in known]:
        request["FeatureAdditions"] = additions
    before, after = old.get("OnlineStoreConfig", {}), new.get("OnlineStoreConfig", {})
    if before != after:
        fixed = [k for k in {*before, *after} - {"TtlDuration"} if before.get(k) != after.get(k)]
        if fixed:
            raise ValueError(f"Only TtlDuration of the OnlineStoreConfig of {name} can change")
        request["OnlineStoreConfig"] = {"TtlDuration": after["TtlDuration"]}
    if len(request) > 1:
        _call("UpdateFeatureGroup", request)


def _retag(kind: Kind, name: str, old: Props, new: Props) -> None:
    if old.get("Tags") == new.get("Tags"):
        return
    arn = state.arn(kind.kind, name)
    gone = {t["Key"] for t in old.get("Tags", [])} - {t["Key"] for t in new.get("Tags", [])}
    if gone:
        _call("DeleteTags", {"ResourceArn": arn, "TagKeys": sorted(gone)})
    if new.get("Tags"):
        _call("AddTags", {"ResourceArn": arn, "Tags": new["Tags"]})


def _delete(kind: Kind, physical_id: str, props: Props) -> None:
    name = state.arn_name(physical_id, kind.kind)
    if name not in state.store(kind.kind):
        return  # someone deleted it before: the goal is reached
    request: Props = {kind.name_member: name}
    if kind.name == "Pipeline":
        request["ClientRequestToken"] = uuid.uuid4().hex
    _call(f"Delete{kind.name}", request)


def install() -> None:
    for kind in KINDS:
        _install(kind)
    before = stacks._runs_on_worker_thread
    # endpoints wait until they are in service, and S3 definitions are read from this very server
    stacks._runs_on_worker_thread = lambda kind: kind.startswith("AWS::SageMaker::") or before(kind)


def _install(kind: Kind) -> None:
    type_name = f"AWS::SageMaker::{kind.name}"
    provisioners._RESOURCE_HANDLERS[type_name] = {
        "create": lambda logical_id, props, stack: _create(kind, logical_id, props, stack),
        "update": lambda physical_id, old, new, stack: _update(kind, physical_id, old, new, stack),
        "delete": lambda physical_id, props: _delete(kind, physical_id, props),
    }
    provisioners._REPLACING_PROPERTIES[type_name] = kind.replacing
    provisioners._CUSTOM_NAME_REPLACEMENT[type_name] = {"name": kind.name_member}
    if kind.name not in ("FeatureGroup", "Model", "EndpointConfig"):  # there a changed stack tag would replace
        provisioners._STACK_TAG_PROPERTY[type_name] = ("Tags", "list")

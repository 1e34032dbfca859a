"""Models and endpoint configurations: immutable records that endpoints and transform jobs read."""

from __future__ import annotations

from typing import Any

from local.sagemaker import roles, state
from local.sagemaker.errors import invalid
from local.sagemaker.operations import PAGE, TIMES, operation

_CONTAINER = "Image ContainerHostname Mode Environment ModelDataUrl ImageConfig ModelPackageName"
_SOURCE = "S3Uri S3DataType CompressionType"


def _container_members(prefix: str) -> str:
    plain = " ".join(f"{prefix}.{m}" for m in _CONTAINER.split())
    return plain + " " + " ".join(f"{prefix}.ModelDataSource.S3DataSource.{m}" for m in _SOURCE.split())


@operation(
    "CreateModel",
    "ModelName ExecutionRoleArn Tags VpcConfig EnableNetworkIsolation "
    + _container_members("PrimaryContainer") + " " + _container_members("Containers"),
)
def create_model(request: dict[str, Any]) -> dict[str, Any]:
    name, containers = request["ModelName"], request.get("Containers", [])
    container = request.get("PrimaryContainer") or (containers[0] if len(containers) == 1 else None)
    if container is None:
        raise invalid("A model must have PrimaryContainer; inference pipelines of several Containers are not "
                      "supported by the embedded SageMaker")
    _check_container(container)
    if "ExecutionRoleArn" not in request:
        raise invalid("ExecutionRoleArn is required")
    roles.check_trust(request["ExecutionRoleArn"])
    arn = state.arn("model", name)
    with state.LOCK:
        if name in state.store("model"):
            raise invalid(f'Cannot create already existing model "{arn}".')
        record = {k: v for k, v in request.items() if k not in ("Tags", "Containers")}
        container.setdefault("Mode", "SingleModel")
        record |= {"PrimaryContainer": container, "ModelArn": arn, "CreationTime": state.now()}
        state.store("model")[name] = {"EnableNetworkIsolation": False, **record}
    tag(arn, request)
    return {"ModelArn": arn}


def _check_container(container: dict[str, Any]) -> None:
    if container.get("Mode", "SingleModel") != "SingleModel":
        raise invalid("Mode MultiModel is not supported by the embedded SageMaker; use SingleModel")
    if ("Image" in container) == ("ModelPackageName" in container):
        raise invalid("A container must have either Image or ModelPackageName")
    if "ModelDataUrl" in container and "ModelDataSource" in container:
        raise invalid("A container must not have both ModelDataUrl and ModelDataSource")
    source = container.get("ModelDataSource", {}).get("S3DataSource", {})
    if source.get("S3DataType") == "S3Prefix" and not source["S3Uri"].endswith("/"):
        raise invalid(f"S3Uri {source['S3Uri']!r} of S3DataType S3Prefix must end with a forward slash")
    if source.get("S3DataType") == "S3Prefix" and source["CompressionType"] != "None":
        raise invalid("CompressionType of an S3Prefix model must be None")


def tag(arn: str, request: dict[str, Any]) -> None:
    if request.get("Tags"):
        state.store("tags")[arn] = {t["Key"]: t["Value"] for t in request["Tags"]}


def find_model(name: str) -> dict[str, Any]:
    record = state.store("model").get(name)
    if record is None:
        raise invalid(f'Could not find model "{state.arn("model", name)}".')
    return record


@operation("DescribeModel", "ModelName")
def describe_model(request: dict[str, Any]) -> dict[str, Any]:
    return state.public(find_model(request["ModelName"]))


@operation("DeleteModel", "ModelName")
def delete_model(request: dict[str, Any]) -> dict[str, Any]:
    find_model(request["ModelName"])
    del state.store("model")[request["ModelName"]]
    return {}


@operation("ListModels", f"{PAGE} {TIMES}")
def list_models(request: dict[str, Any]) -> dict[str, Any]:
    return state.listing(
        list(state.store("model").values()), request, answer="Models",
        summary=("ModelName", "ModelArn", "CreationTime"),
    )


_VARIANT = (
    "VariantName ModelName InitialInstanceCount InstanceType InitialVariantWeight VolumeSizeInGB "
    "ModelDataDownloadTimeoutInSeconds ContainerStartupHealthCheckTimeoutInSeconds "
    "RoutingConfig EnableSSMAccess InferenceAmiVersion"
)


@operation(
    "CreateEndpointConfig",
    "EndpointConfigName Tags KmsKeyId VpcConfig EnableNetworkIsolation ExecutionRoleArn "
    "AsyncInferenceConfig.ClientConfig AsyncInferenceConfig.OutputConfig "
    + " ".join(f"ProductionVariants.{m} ShadowProductionVariants.{m}" for m in _VARIANT.split()),
)
def create_endpoint_config(request: dict[str, Any]) -> dict[str, Any]:
    name, variants = request["EndpointConfigName"], request["ProductionVariants"]
    shadows = request.get("ShadowProductionVariants", [])
    names = [v["VariantName"] for v in (*variants, *shadows)]
    if len(set(names)) < len(names):
        raise invalid(f"Variant names must be unique, got {', '.join(names)}")
    if shadows and (len(shadows) > 1 or len(variants) > 1):
        raise invalid("ShadowProductionVariants need exactly one production variant and one shadow variant")
    if shadows and "AsyncInferenceConfig" in request:
        raise invalid("An asynchronous endpoint can't have ShadowProductionVariants")
    for variant in (*variants, *shadows):
        find_model(variant.get("ModelName", ""))
        variant.setdefault("InitialVariantWeight", 1.0)
        variant.setdefault("InitialInstanceCount", 1)
    arn = state.arn("endpoint-config", name)
    with state.LOCK:
        if name in state.store("endpoint-config"):
            raise invalid(f'Cannot create already existing endpoint configuration "{arn}".')
        record = {k: v for k, v in request.items() if k != "Tags"}
        record |= {"EndpointConfigArn": arn, "CreationTime": state.now()}
        state.store("endpoint-config")[name] = record
    tag(arn, request)
    return {"EndpointConfigArn": arn}


def find_endpoint_config(name: str) -> dict[str, Any]:
    record = state.store("endpoint-config").get(name)
    if record is None:
        raise invalid(f'Could not find endpoint configuration "{state.arn("endpoint-config", name)}".')
    return record


@operation("DescribeEndpointConfig", "EndpointConfigName")
def describe_endpoint_config(request: dict[str, Any]) -> dict[str, Any]:
    return state.public(find_endpoint_config(request["EndpointConfigName"]))


@operation("DeleteEndpointConfig", "EndpointConfigName")
def delete_endpoint_config(request: dict[str, Any]) -> dict[str, Any]:
    find_endpoint_config(request["EndpointConfigName"])
    del state.store("endpoint-config")[request["EndpointConfigName"]]
    return {}


@operation("ListEndpointConfigs", f"{PAGE} {TIMES}")
def list_endpoint_configs(request: dict[str, Any]) -> dict[str, Any]:
    return state.listing(
        list(state.store("endpoint-config").values()), request, answer="EndpointConfigs",
        summary=("EndpointConfigName", "EndpointConfigArn", "CreationTime"),
    )


@operation("AddTags", "ResourceArn Tags")
def add_tags(request: dict[str, Any]) -> dict[str, Any]:
    with state.LOCK:
        tags = state.store("tags").setdefault(request["ResourceArn"], {})
        tags.update({t["Key"]: t["Value"] for t in request["Tags"]})
    return list_tags(request)


@operation("DeleteTags", "ResourceArn TagKeys")
def delete_tags(request: dict[str, Any]) -> dict[str, Any]:
    with state.LOCK:
        tags = state.store("tags").setdefault(request["ResourceArn"], {})
        for key in request["TagKeys"]:
            tags.pop(key, None)
    return {}


@operation("ListTags", "ResourceArn NextToken MaxResults")
def list_tags(request: dict[str, Any]) -> dict[str, Any]:
    tags = state.store("tags").get(request["ResourceArn"], {})
    return {"Tags": [{"Key": k, "Value": v} for k, v in sorted(tags.items())]}

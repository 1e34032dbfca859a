"""CloudFormation hooks: trust policies are checked, types that ministack would pass over are refused."""

from __future__ import annotations

from typing import Any

from local import roles
from local.config import LocalConfig
from local.events import metric_math

# the role property of a type -> the service that assumes it
_ASSUMED_BY = {
    "AWS::Lambda::Function": ("Role", "lambda.amazonaws.com"),
    "AWS::StepFunctions::StateMachine": ("RoleArn", "states.amazonaws.com"),
    "AWS::CodeBuild::Project": ("ServiceRole", "codebuild.amazonaws.com"),
    "AWS::SageMaker::Model": ("ExecutionRoleArn", "sagemaker.amazonaws.com"),
    "AWS::SageMaker::Pipeline": ("RoleArn", "sagemaker.amazonaws.com"),
    "AWS::SageMaker::FeatureGroup": ("RoleArn", "sagemaker.amazonaws.com"),
}
_PLACEHOLDERS = ("AWS::CloudFormation::WaitConditionHandle", "AWS::CloudFormation::WaitCondition",
                 "AWS::CloudFormation::CustomResource", "AWS::CloudFormation::Stack")


def install(config: LocalConfig) -> None:
    from ministack.services.cloudformation import provisioners, stacks

    from local.stacks import (
        buckets,
        by_api,
        emr_serverless,
        log_queries,
        mended,
        network,
        observability,
        scaling,
        unread,
    )

    by_api.configure(config)
    log_queries.install(config)
    for module in (buckets, emr_serverless, mended, network, observability, scaling):
        provisioners._RESOURCE_HANDLERS.update(module.handlers())
        for resource_type, tag_property in getattr(module, "TAGGED", {}).items():
            provisioners._STACK_TAG_PROPERTY[resource_type] = (tag_property, "list")
    provision, update = provisioners._provision_resource, provisioners._update_resource

    def provision_resource(resource_type: str, logical_id: str, props: Any, stack_name: str) -> Any:
        _check(resource_type, props)
        watched = unread.Watched(props)
        created = provision(resource_type, logical_id, watched, stack_name)
        try:
            unread.refuse_unread(resource_type, watched)
        except ValueError:
            provisioners._delete_resource(resource_type, created[0], props, stack_name, logical_id)
            raise
        return created

    def update_resource(resource_type: str, physical_id: str, old: Any, new: Any, *rest: Any) -> Any:
        if old != new:
            _check(resource_type, new)
        return update(resource_type, physical_id, old, new, *rest)

    on_worker = stacks._runs_on_worker_thread
    through_api = {"AWS::S3::Bucket", "AWS::DynamoDB::Table", "AWS::DynamoDB::GlobalTable",
                   *emr_serverless.handlers(), *network.handlers(), *observability.handlers(),
                   *scaling.handlers()} - {"AWS::CloudWatch::Alarm"}
    stacks._runs_on_worker_thread = lambda kind: kind in through_api or on_worker(kind)
    for module in (provisioners, stacks):
        module._provision_resource = provision_resource
        module._update_resource = update_resource


def _check(resource_type: str, props: dict[str, Any]) -> None:
    if resource_type.startswith("AWS::CloudFormation::") and resource_type not in _PLACEHOLDERS:
        raise ValueError(f"Unsupported resource type: {resource_type}")
    if resource_type in _ASSUMED_BY:
        property_name, service = _ASSUMED_BY[resource_type]
        if props.get(property_name):
            roles.check_trust(props[property_name], service)
    if resource_type == "AWS::Events::Rule":
        for target in props.get("Targets") or []:
            if target.get("RoleArn"):
                roles.check_trust(target["RoleArn"], "events.amazonaws.com")
    if resource_type == "AWS::Scheduler::Schedule":
        roles.check_trust((props.get("Target") or {}).get("RoleArn", ""), "scheduler.amazonaws.com")
    if resource_type == "AWS::CloudWatch::Alarm":
        for query in props.get("Metrics") or []:
            if query.get("Expression"):
                metric_math.check(query["Expression"])

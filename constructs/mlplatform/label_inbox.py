"""The door for vendors: a signed POST becomes a file in the lake's inbox, and the file starts the label-ingest machine.

An HTTP API and not a function URL, which has no throttle and no access log. The API knows nobody: who may send is said
by the signature, which the function checks before it looks at anything else.
"""

from __future__ import annotations

import json
from typing import Any

from aws_cdk import aws_apigatewayv2 as apigateway
from aws_cdk import aws_events as events
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_secretsmanager as secretsmanager

from constructs import Construct
from contracts import functions as f
from contracts import naming
from contracts.vendor_callback import ROUTE, VENDORS
from mlplatform.eventing import MachineRule
from mlplatform.platform_function import FunctionRoom, PlatformFunction
from mlplatform.policies import allow, arn_of, token_arn, use_key, write_prefixes
from mlplatform.retention import log_group
from mlplatform.state_machine import StateMachine

SECRET_CHARACTERS = 64
# Vendors send a few batches a day; a stranger's flood costs no more than this.
RATE_PER_S, BURST = 5, 10
# Ids and lengths: neither addresses nor bodies.
_ACCESS_LOG = {"request_id": "$context.requestId", "at": "$context.requestTime", "route": "$context.routeKey",
               "status": "$context.status", "bytes": "$context.responseLength", "error": "$context.error.message"}


class LabelInbox(Construct):
    def __init__(self, scope: Construct, id_: str, *, room: FunctionRoom, lake: s3.Bucket, key: kms.IKey,
                 machine: StateMachine) -> None:
        super().__init__(scope, id_)
        secrets = [self._secret(vendor, key) for vendor in VENDORS]
        function = room.function(
            f.VENDOR_CALLBACK, statements=[
                allow("secretsmanager:GetSecretValue", on=[secret.attr_id for secret in secrets]),  # the ARN
                allow("s3:ListBucket", on=lake.bucket_arn,
                      when={"StringLike": {"s3:prefix": [f"{naming.TASKS_PREFIX}*"]}}),
                write_prefixes(lake.bucket_arn, naming.INBOX_PREFIX), use_key(arn_of(key))],
            environment=f.VendorCallbackEnv(LAKE_BUCKET=lake.bucket_name))
        self._api(function, key)
        MachineRule(
            self, "OnDelivery", says="A delivery of labels came into the inbox: settle its task",
            pattern=arrives(lake.bucket_name), machine_arn=machine.arn,
            # The machine takes the key apart; of the event nothing else is handed on.
            transformer=events.CfnRule.InputTransformerProperty(
                input_paths_map={"key": "$.detail.object.key"}, input_template='{"key": <key>}'))

    def _secret(self, vendor: str, key: kms.IKey) -> secretsmanager.CfnSecret:
        return secretsmanager.CfnSecret(
            self, f"{naming.pascal(vendor)}Secret", name=naming.vendor_secret(vendor), kms_key_id=arn_of(key),
            description=f"What {vendor} signs its label batches with",
            generate_secret_string=secretsmanager.CfnSecret.GenerateSecretStringProperty(
                password_length=SECRET_CHARACTERS, exclude_punctuation=True))

    def _api(self, function: PlatformFunction, key: kms.IKey) -> None:
        api = apigateway.CfnApi(self, "Api", name=naming.label_callback_api(), protocol_type="HTTP",
                                description="Vendors deliver label batches, each signed")
        integration = apigateway.CfnIntegration(
            self, "Integration", api_id=api.ref, integration_type="AWS_PROXY", integration_uri=function.arn,
            payload_format_version="2.0")
        route = apigateway.CfnRoute(self, "Route", api_id=api.ref, route_key=ROUTE, authorization_type="NONE",
                                    target=f"integrations/{integration.ref}")
        logs = log_group(self, "AccessLogs", name=f"/aws/vendedlogs/apis/{naming.label_callback_api()}",
                         key_arn=arn_of(key))
        stage = apigateway.CfnStage(
            self, "Stage", api_id=api.ref, stage_name="$default", auto_deploy=True,
            default_route_settings=apigateway.CfnStage.RouteSettingsProperty(
                throttling_rate_limit=RATE_PER_S, throttling_burst_limit=BURST),
            access_log_settings=apigateway.CfnStage.AccessLogSettingsProperty(
                destination_arn=logs.attr_arn, format=json.dumps(_ACCESS_LOG)))
        stage.add_resource_dependency(route)
        method, path = ROUTE.split(" ")
        function.allow_invoke("InvokeByApi", service="apigateway.amazonaws.com",
                              source_arn=token_arn("execute-api", f"{api.ref}/*/{method}{path}"))


def arrives(bucket: str) -> dict[str, Any]:
    """S3's event of an object below the inbox; the bucket must have its events switched on."""
    return {"source": ["aws.s3"], "detail-type": ["Object Created"],
            "detail": {"bucket": {"name": [bucket]}, "object": {"key": [{"prefix": naming.INBOX_PREFIX}]}}}

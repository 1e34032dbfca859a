"""Our Lambda functions: Python 3.13, staged by folder, one role each, encrypted environment."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property

from aws_cdk import AssetHashType
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_s3_assets as s3_assets

from constructs import Construct
from contracts import naming
from contracts.environment import Environment
from contracts.functions import FunctionContract
from mlplatform.dead_letters import DeadLetters
from mlplatform.policies import Statement, allow, arn, arn_of, service_role
from mlplatform.retention import log_group
from mlplatform.staging import ROOT, STAGED, source_asset, source_files, write_archive

RUNTIME = "python3.13"
BUNDLING_CONTEXT = "aws:cdk:bundling-stacks"  # an empty list switches bundling off (tests)
_LAYER = ROOT / "build" / "lambda_layer"
_LAYER_REQUIREMENTS = ROOT / "requirements" / "lambda_layer.txt"


class FunctionRoom(Construct):
    """The functions of one stack; they share a layer and a key, and nothing else.

    Every stack has a layer version of its own: a layer's ARN changes with its content, and
    CloudFormation refuses to change an export that another stack imports.
    """

    def __init__(self, scope: Construct, id_: str, *, room: str, key: kms.IKey) -> None:
        super().__init__(scope, id_)
        self._room, self._key_arn = room, arn_of(key)
        layer = _layer_asset(self)
        self._layer = lambda_.CfnLayerVersion(
            self, "Layer", layer_name=naming.function(room, "libraries"), compatible_runtimes=[RUNTIME],
            content=lambda_.CfnLayerVersion.ContentProperty(
                s3_bucket=layer.s3_bucket_name, s3_key=layer.s3_object_key),
        )
        self._layer_arn: str = self._layer.ref

    def function(self, contract: FunctionContract, *, environment: Environment,
                 statements: Sequence[Statement] = ()) -> PlatformFunction:
        if not isinstance(environment, contract.environment):
            raise TypeError(f"{contract.name} takes a {contract.environment.__name__}, "
                            f"got {type(environment).__name__}")
        id_ = naming.pascal(contract.name.replace("_", "-"))
        return PlatformFunction(self, id_, contract=contract, room=self._room,
                                environment=environment, statements=statements, key_arn=self._key_arn,
                                layer_arn=self._layer_arn)


class PlatformFunction(Construct):
    """One function. An asynchronous one has a dead-letter queue: `dead_letters`."""

    def __init__(self, scope: Construct, id_: str, *, contract: FunctionContract, room: str, environment: Environment,
                 statements: Sequence[Statement], key_arn: str, layer_arn: str) -> None:
        super().__init__(scope, id_)
        self.contract = contract
        self.name = naming.function(room, contract.name)
        self.dead_letters = DeadLetters(self, "DeadLetters") if contract.asynchronous else None
        group = log_group(self, "Logs", name=f"/aws/lambda/{self.name}", key_arn=key_arn)
        own = [
            allow("logs:CreateLogStream", "logs:PutLogEvents", on=group.attr_arn),
            # X-Ray has no resource-level permissions.
            allow("xray:PutTraceSegments", "xray:PutTelemetryRecords", on="*"),
            allow("kms:Decrypt", on=key_arn),  # the environment itself
        ]
        if self.dead_letters:
            own.append(allow("sqs:SendMessage", on=self.dead_letters.arn))
        self.role = service_role(self, "Role", service="lambda.amazonaws.com",
                                 description=f"What {self.name} may call", statements=[*own, *statements])
        code = source_asset(self, "Code", ["contracts", "lambdas/shared", f"lambdas/{contract.name}"])
        # No POWERTOOLS_SERVICE_NAME: it would add a dimension to every metric, and no alarm would match.
        variables = environment.to_environ()
        self.resource = lambda_.CfnFunction(
            self, "Default", function_name=self.name, runtime=RUNTIME, handler=contract.handler,
            role=self.role.role_arn, layers=[layer_arn], timeout=contract.timeout_s, memory_size=contract.memory_mb,
            architectures=["x86_64"], kms_key_arn=key_arn,
            code=lambda_.CfnFunction.CodeProperty(s3_bucket=code.s3_bucket_name, s3_key=code.s3_object_key),
            environment=lambda_.CfnFunction.EnvironmentProperty(variables=variables) if variables else None,
            tracing_config=lambda_.CfnFunction.TracingConfigProperty(mode="Active"),
            logging_config=lambda_.CfnFunction.LoggingConfigProperty(log_group=group.ref),
            dead_letter_config=lambda_.CfnFunction.DeadLetterConfigProperty(
                target_arn=self.dead_letters.arn) if self.dead_letters else None,
        )

    @cached_property
    def arn(self) -> str:
        return self.resource.attr_arn

    def allow_invoke(self, id_: str, *, service: str, source_arn: str) -> None:
        lambda_.CfnPermission(self, id_, action="lambda:InvokeFunction", function_name=self.arn, principal=service,
                              source_arn=source_arn)


def function_arn(room: str, contract: FunctionContract) -> str:
    """ARN by name: for a function that must know itself, where a reference would be a circle."""
    return arn("lambda", f"function:{naming.function(room, contract.name)}")


def _layer_asset(scope: Construct) -> s3_assets.Asset:
    """The libraries installed by `make setup`, named by the hash of their requirement file."""
    archive = _LAYER.with_suffix(".zip")
    if scope.node.try_get_context(BUNDLING_CONTEXT) == []:
        archive = STAGED / "layer-left-out.zip"  # tests look at templates only
        write_archive(archive, ROOT, [_LAYER_REQUIREMENTS])
    elif not archive.is_file():
        if not (_LAYER / "python").is_dir():
            raise FileNotFoundError(f"{_LAYER.relative_to(ROOT)}/python is missing: run `make setup` first")
        write_archive(archive, _LAYER, source_files(_LAYER))
    return s3_assets.Asset(scope, "LayerCode", path=str(archive), asset_hash_type=AssetHashType.CUSTOM,
                           asset_hash=hashlib.sha256(_LAYER_REQUIREMENTS.read_bytes()).hexdigest())

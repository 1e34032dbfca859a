"""The serving spec: from SSM, or the copy last read while SSM is down."""

from __future__ import annotations

from typing import Any

from contracts import naming, records
from contracts.serving import ServingSpec
from lambdas.shared.aws import aws_errors
from lambdas.shared.dynamo import control_key, read_control, to_item
from lambdas.shared.errors import SpecUnavailable
from lambdas.shared.flags import ssm_client
from lambdas.shared.observability import logger


def read_spec(dynamodb: Any, table: str, slug: str) -> ServingSpec:
    text = _from_ssm(naming.serving_spec_parameter(slug))
    cached = read_control(dynamodb, table, slug, records.SPEC)
    if text is None:
        if cached is None:
            raise SpecUnavailable(
                f"the serving spec of {slug} is neither in SSM nor in the control table; "
                "deploy the story's stack, or wait until SSM answers"
            )
        logger.warning("serving spec from the control table")
        return ServingSpec.from_json(cached["spec"])
    spec = ServingSpec.from_json(text)  # before it is kept: a broken spec must not replace a good copy
    if cached is None or cached["spec"] != text:
        dynamodb.put_item(
            TableName=table, Item={**control_key(slug, records.SPEC), **to_item({"spec": text})}
        )
    return spec


def _from_ssm(name: str) -> str | None:
    from aws_lambda_powertools.utilities.parameters import SSMProvider
    from aws_lambda_powertools.utilities.parameters.exceptions import GetParameterError

    try:
        return str(SSMProvider(boto3_client=ssm_client()).get(name, force_fetch=True))
    except (GetParameterError, *aws_errors()) as error:
        logger.warning("serving spec could not be read from SSM", error=type(error).__name__)
        return None

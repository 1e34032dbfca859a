"""Where the name of an API call and what IAM is asked for it differ: one table, each row proved by a self-test.

https://docs.aws.amazon.com/service-authorization/latest/reference/ says so per service; a call that is not here
is authorised as SERVICE:OPERATION on the one resource that it names. Rows that are `ours` are asked in front of
ministack, which would ask for less.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

_FIELD = re.compile(r"\{([^{}]+)\}")
_CATALOG = "arn:aws:glue:{region}:{account}:catalog"
_DATABASE = "arn:aws:glue:{region}:{account}:database/{DatabaseName}"


@dataclass(frozen=True, kw_only=True)
class ApiCall:
    """`asks`: (IAM action, ARN). `{Member}` is filled from the request, `[]` is each of a list, `.*` each key."""

    api: tuple[str, str]
    asks: tuple[tuple[str, str], ...]
    ours: bool = False

    def expected(self, request: dict[str, Any], *, region: str, account: str) -> list[tuple[str, str]]:
        """(action, ARN) of everything this request is authorised on; a part that names nothing asks nothing."""
        values = {**request, "region": region, "account": account}
        return [(action, arn) for action, template in self.asks for arn in _filled(template, values)]


def _ask(api: str, *asks: tuple[str, str], ours: bool = False) -> ApiCall:
    service, operation = api.split(":")
    return ApiCall(api=(service, operation), asks=asks, ours=ours)


_OBJECT = "arn:aws:s3:::{Bucket}/{Key}"
_TABLE = "arn:aws:dynamodb:{region}:{account}:table/{%s}"
_SAGEMAKER = "arn:aws:sagemaker:{region}:{account}:"
_ENDPOINT = (_SAGEMAKER + "endpoint/{EndpointName}", _SAGEMAKER + "endpoint-config/{EndpointConfigName}")

API_CALLS = (
    _ask("s3:HeadObject", ("s3:GetObject", _OBJECT)),
    _ask("s3:HeadBucket", ("s3:ListBucket", "arn:aws:s3:::{Bucket}")),
    _ask("s3:ListObjectsV2", ("s3:ListBucket", "arn:aws:s3:::{Bucket}")),
    _ask("s3:CopyObject", ("s3:PutObject", _OBJECT), ("s3:GetObject", "arn:aws:s3:::{CopySource}")),
    _ask("s3:CreateMultipartUpload", ("s3:PutObject", _OBJECT)),
    _ask("s3:UploadPart", ("s3:PutObject", _OBJECT)),
    _ask("s3:CompleteMultipartUpload", ("s3:PutObject", _OBJECT)),
    _ask("s3:DeleteObjects", ("s3:DeleteObject", "arn:aws:s3:::{Bucket}/{Delete.Objects[].Key}")),
    _ask("lambda:Invoke", ("lambda:InvokeFunction",
                           "arn:aws:lambda:{region}:{account}:function:{FunctionName}")),
    _ask("dynamodb:BatchGetItem", ("dynamodb:BatchGetItem", _TABLE % "RequestItems.*")),
    _ask("dynamodb:TransactWriteItems",
         ("dynamodb:PutItem", _TABLE % "TransactItems[].Put.TableName"),
         ("dynamodb:UpdateItem", _TABLE % "TransactItems[].Update.TableName"),
         ("dynamodb:DeleteItem", _TABLE % "TransactItems[].Delete.TableName"),
         ("dynamodb:ConditionCheckItem", _TABLE % "TransactItems[].ConditionCheck.TableName")),
    _ask("dynamodb:TransactGetItems", ("dynamodb:GetItem", _TABLE % "TransactItems[].Get.TableName")),
    _ask("events:PutEvents", ("events:PutEvents",
                              "arn:aws:events:{region}:{account}:event-bus/{Entries[].EventBusName}")),
    _ask("states:StartExecution", ("states:StartExecution", "{stateMachineArn}")),
    _ask("ssm:GetParameters", ("ssm:GetParameters", "arn:aws:ssm:{region}:{account}:parameter{Names[]}"), ours=True),
    _ask("cloudwatch:DescribeAlarms", ("cloudwatch:DescribeAlarms",
                                       "arn:aws:cloudwatch:{region}:{account}:alarm:{AlarmNames[]}"), ours=True),
    _ask("codebuild:BatchGetProjects", ("codebuild:BatchGetProjects",
                                        "arn:aws:codebuild:{region}:{account}:project/{names[]}"), ours=True),
    _ask("ecr:DescribeRepositories", ("ecr:DescribeRepositories",
                                      "arn:aws:ecr:{region}:{account}:repository/{repositoryNames[]}"), ours=True),
    _ask("sagemaker:CreateEndpoint", *(("sagemaker:CreateEndpoint", arn) for arn in _ENDPOINT), ours=True),
    _ask("sagemaker:UpdateEndpoint", *(("sagemaker:UpdateEndpoint", arn) for arn in _ENDPOINT), ours=True),
    *(_ask(f"sagemaker:{operation}", (f"sagemaker:{operation}", _SAGEMAKER + "model-package/{ModelPackageGroupName}/*"))
      for operation in ("CreateModelPackage", "ListModelPackages")),
    _ask("glue:GetDatabase", ("glue:GetDatabase", "arn:aws:glue:{region}:{account}:database/{Name}"),
         ("glue:GetDatabase", _CATALOG), ours=True),
    _ask("glue:CreateDatabase", ("glue:CreateDatabase", _CATALOG),
         ("glue:CreateDatabase", "arn:aws:glue:{region}:{account}:database/{DatabaseInput.Name}"), ours=True),
    *(_ask(f"glue:{operation}", *((f"glue:{operation}", arn) for arn in (
        f"arn:aws:glue:{{region}}:{{account}}:table/{{DatabaseName}}/{{{name}}}", _DATABASE, _CATALOG)), ours=True)
      for operation, name in (("GetTable", "Name"), ("CreateTable", "TableInput.Name"),
                              ("UpdateTable", "TableInput.Name"))),
)
_OURS = {row.api: row for row in API_CALLS if row.ours}


def asked_in_front(
    service: str, operation: str, body: bytes, *, region: str, account: str
) -> list[tuple[str, str]]:
    """(action, ARN) pairs of a row of ours; empty for every other call, and for a request that is no JSON."""
    row = _OURS.get((service, operation))
    if row is None:
        return []
    try:
        request = json.loads(body or b"{}")
    except ValueError:
        return []  # the service refuses it in its own words
    return row.expected(request, region=region, account=account) if isinstance(request, dict) else []


def _filled(template: str, values: dict[str, Any]) -> list[str]:
    """The template once per combination; empty as soon as one field has no value."""
    found = [template]
    for field in dict.fromkeys(_FIELD.findall(template)):
        found = [text.replace(f"{{{field}}}", value) for text in found for value in _values(values, field.split("."))]
    return list(dict.fromkeys(found))


def _values(node: Any, path: list[str]) -> Iterator[str]:
    if not path:
        if isinstance(node, str) and node:
            yield node
        return
    if not isinstance(node, dict):
        return
    name, rest = path[0], path[1:]
    if name == "*":
        yield from (key for key in node if isinstance(key, str))
    elif name.endswith("[]"):
        listed = node.get(name[:-2])
        for item in listed if isinstance(listed, list) else []:
            yield from _values(item, rest)
    else:
        yield from _values(node.get(name), rest)


def refusal(
    call: tuple[str, str], router_name: str, headers: dict[str, str], body: bytes, query: dict[str, Any],
    request_id: str, account: str,
) -> tuple[int, dict[str, str], bytes] | None:
    """AccessDenied when the caller lacks one of a row's grants; None when all is well."""
    from ministack.core.iam_actions import access_denied_response, identity_denial_message
    from ministack.core.iam_evaluator import EvalResult, enforce
    from ministack.core.router import extract_access_key_id, extract_region

    region = extract_region(headers)
    for action, arn in asked_in_front(*call, body, region=region, account=account):
        found = enforce(extract_access_key_id(headers, query) or "", action, router_name, region, resource_arn=arn)
        if isinstance(found, EvalResult):  # credentials that fail get the service's own answer
            explicit = found.decision == "Deny"
            answer: tuple[int, dict[str, str], bytes] = access_denied_response(
                router_name, action, found.principal_arn, request_id, headers=headers, explicit_deny=explicit,
                message=identity_denial_message(action, found.principal_arn, arn, explicit))
            return answer
    return None

"""SSM parameter writes reach EventBridge as `Parameter Store Change`, and AllowedPattern is held."""

from __future__ import annotations

import json
import re
from typing import Any

from local.config import LocalConfig


def install(config: LocalConfig) -> None:
    from ministack.services import ssm

    put, delete, delete_many = ssm._put_parameter, ssm._delete_parameter, ssm._delete_parameters

    def put_parameter(data: dict[str, Any]) -> Any:
        existed = data.get("Name") in ssm._parameters
        refused = _pattern_mismatch(data)
        if refused:
            return refused
        answer = put(data)
        if answer[0] == 200:
            _announce(data["Name"], "Update" if existed else "Create")
        return answer

    def delete_parameter(data: dict[str, Any]) -> Any:
        kind = (ssm._parameters.get(data.get("Name")) or {}).get("Type")
        answer = delete(data)
        if answer[0] == 200:
            _announce(data["Name"], "Delete", kind)
        return answer

    def delete_parameters(data: dict[str, Any]) -> Any:
        kinds = {name: (ssm._parameters.get(name) or {}).get("Type") for name in data.get("Names") or []}
        answer = delete_many(data)
        for name in json.loads(answer[2]).get("DeletedParameters", []) if answer[0] == 200 else []:
            _announce(name, "Delete", kinds.get(name))
        return answer

    ssm._put_parameter = put_parameter
    ssm._delete_parameter = delete_parameter
    ssm._delete_parameters = delete_parameters


def _pattern_mismatch(data: dict[str, Any]) -> Any:
    from ministack.core.responses import error_response_json

    pattern = data.get("AllowedPattern")
    if pattern and not re.search(pattern, data.get("Value", "")):
        return error_response_json("ParameterPatternMismatchException", "Parameter value, cannot be validated against "
                                   f"allowedPattern: {pattern}", 400)
    return None


def _announce(name: str, operation: str, kind: str | None = None) -> None:
    from ministack.services import eventbridge, ssm

    record = ssm._parameters.get(name) or {}
    detail = {"operation": operation, "name": name, "type": kind or record.get("Type", "String")}
    if record.get("Description"):
        detail["description"] = record["Description"]
    eventbridge._put_events({"Entries": [{
        "Source": "aws.ssm", "DetailType": "Parameter Store Change", "Detail": json.dumps(detail),
        "Resources": [ssm._param_arn(name)],
    }]}, allow_aws_source=True)

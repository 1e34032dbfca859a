"""Pipelines and their executions: the API. What an execution does is in `pipeline_run`."""

from __future__ import annotations

import json
from typing import Any

from local.sagemaker import pipeline_run, roles, state
from local.sagemaker.aws_http import AwsError
from local.sagemaker.errors import ApiError, invalid
from local.sagemaker.models import tag
from local.sagemaker.operations import operation
from local.sagemaker.pipeline_definition import parse

_CREATOR = {"DomainId": "embedded", "UserProfileName": "embedded"}
_PARALLEL = 50


@operation(
    "CreatePipeline",
    "PipelineName PipelineDisplayName PipelineDefinition PipelineDefinitionS3Location.Bucket "
    "PipelineDefinitionS3Location.ObjectKey PipelineDescription ClientRequestToken RoleArn Tags "
    "ParallelismConfiguration",
)
def create_pipeline(request: dict[str, Any]) -> dict[str, Any]:
    name, arn = request["PipelineName"], state.arn("pipeline", request["PipelineName"])
    with state.LOCK:
        existing = state.store("pipeline").get(name)
    if existing is not None:
        if existing["_token"] == request["ClientRequestToken"]:
            return {"PipelineArn": arn}
        raise invalid(
            "Pipeline names must be unique within an AWS account and region. "
            f"Pipeline with name ({name}) already exists."
        )
    roles.check_trust(request["RoleArn"])
    text, stamp = _definition(request, request["RoleArn"]), state.now()
    parse(text)
    record = {
        "PipelineArn": arn, "PipelineName": name, "PipelineDefinition": text, "RoleArn": request["RoleArn"],
        "PipelineDisplayName": request.get("PipelineDisplayName", name), "PipelineStatus": "Active",
        "PipelineDescription": request.get("PipelineDescription"), "CreationTime": stamp, "LastModifiedTime": stamp,
        "CreatedBy": _CREATOR, "LastModifiedBy": _CREATOR, "_token": request["ClientRequestToken"],
        "ParallelismConfiguration": request.get("ParallelismConfiguration"),
    }
    state.store("pipeline")[name] = record
    tag(arn, request)
    return {"PipelineArn": arn}


def _definition(request: dict[str, Any], role: str) -> str:
    if ("PipelineDefinition" in request) == ("PipelineDefinitionS3Location" in request):
        raise invalid("Give exactly one of PipelineDefinition and PipelineDefinitionS3Location")
    if "PipelineDefinition" in request:
        return str(request["PipelineDefinition"])
    place = request["PipelineDefinitionS3Location"]
    try:
        return roles.assume(role, "SageMaker-pipeline").get_bytes(place["Bucket"], place["ObjectKey"]).decode()
    except AwsError as error:
        uri = f"s3://{place['Bucket']}/{place['ObjectKey']}"
        raise invalid(f"Cannot read the pipeline definition {uri}: {error}") from error


def find_pipeline(name: str) -> dict[str, Any]:
    record = state.store("pipeline").get(state.arn_name(name, "pipeline"))
    if record is None:
        raise ApiError("ResourceNotFound", f"Pipeline '{state.arn('pipeline', name)}' does not exist.")
    return record


@operation(
    "UpdatePipeline",
    "PipelineName PipelineDisplayName PipelineDefinition PipelineDefinitionS3Location.Bucket "
    "PipelineDefinitionS3Location.ObjectKey PipelineDescription RoleArn ParallelismConfiguration",
)
def update_pipeline(request: dict[str, Any]) -> dict[str, Any]:
    record = find_pipeline(request["PipelineName"])
    changes: dict[str, Any] = {
        k: request[k]
        for k in ("PipelineDisplayName", "PipelineDescription", "RoleArn", "ParallelismConfiguration")
        if k in request
    }
    if "RoleArn" in changes:
        roles.check_trust(changes["RoleArn"])
    if "PipelineDefinition" in request or "PipelineDefinitionS3Location" in request:
        changes["PipelineDefinition"] = _definition(request, changes.get("RoleArn", record["RoleArn"]))
        parse(changes["PipelineDefinition"])
    with state.LOCK:
        record.update(changes, LastModifiedTime=state.now())
    return {"PipelineArn": record["PipelineArn"]}


@operation("DescribePipeline", "PipelineName")
def describe_pipeline(request: dict[str, Any]) -> dict[str, Any]:
    return state.public(find_pipeline(request["PipelineName"]))


@operation("DeletePipeline", "PipelineName ClientRequestToken")
def delete_pipeline(request: dict[str, Any]) -> dict[str, Any]:
    record = find_pipeline(request["PipelineName"])
    with state.LOCK:
        busy = [e for e in _executions(record) if e["PipelineExecutionStatus"] in ("Executing", "Stopping")]
        if busy:
            raise ApiError("ConflictException", f"Pipeline {record['PipelineArn']} has executions that still run")
        del state.store("pipeline")[record["PipelineName"]]
        for execution in _executions(record):
            del state.store("pipeline-execution")[execution["PipelineExecutionArn"]]
    return {"PipelineArn": record["PipelineArn"]}


@operation("ListPipelines", "PipelineNamePrefix CreatedAfter CreatedBefore SortBy SortOrder NextToken MaxResults")
def list_pipelines(request: dict[str, Any]) -> dict[str, Any]:
    prefix = request.get("PipelineNamePrefix", "")
    rows = [p for p in state.store("pipeline").values() if p["PipelineName"].startswith(prefix)]
    return state.listing(
        _created(rows, request), request, answer="PipelineSummaries",
        summary=("PipelineArn", "PipelineName", "PipelineDisplayName", "PipelineDescription", "RoleArn",
                 "CreationTime", "LastModifiedTime", "LastExecutionTime"),
    )


def _created(rows: list[dict[str, Any]], request: dict[str, Any]) -> list[dict[str, Any]]:
    after, before = request.get("CreatedAfter", 0), request.get("CreatedBefore", float("inf"))
    return [r for r in rows if after <= r["CreationTime"] <= before]


@operation(
    "StartPipelineExecution",
    "PipelineName PipelineExecutionDisplayName PipelineParameters PipelineExecutionDescription ClientRequestToken "
    "ParallelismConfiguration",
)
def start_execution(request: dict[str, Any]) -> dict[str, Any]:
    """The same ClientRequestToken starts nothing new and answers with the first execution."""
    pipeline, token = find_pipeline(request["PipelineName"]), request["ClientRequestToken"]
    definition = parse(pipeline["PipelineDefinition"])
    with state.LOCK:
        for earlier in _executions(pipeline):
            if earlier["_token"] == token:
                return {"PipelineExecutionArn": earlier["PipelineExecutionArn"]}
        values = definition.values(request.get("PipelineParameters", []))
        execution_id, stamp = state.new_id(12), state.now()
        arn = f"{pipeline['PipelineArn']}/execution/{execution_id}"
        parallel = request.get("ParallelismConfiguration") or pipeline.get("ParallelismConfiguration") or {}
        record = {
            "PipelineArn": pipeline["PipelineArn"], "PipelineExecutionArn": arn, "CreatedBy": _CREATOR,
            "PipelineExecutionDisplayName": request.get("PipelineExecutionDisplayName", f"execution-{execution_id}"),
            "PipelineExecutionDescription": request.get("PipelineExecutionDescription"),
            "PipelineExecutionStatus": "Executing", "CreationTime": stamp, "LastModifiedTime": stamp,
            "LastModifiedBy": _CREATOR, "ParallelismConfiguration": parallel or None,
            "_id": execution_id, "_pipeline": pipeline["PipelineName"], "_role": pipeline["RoleArn"], "_token": token,
            "_definition": pipeline["PipelineDefinition"], "_values": values, "_steps": {}, "_outputs": {},
            "_files": {}, "_parallel": parallel.get("MaxParallelExecutionSteps", _PARALLEL),
        }
        state.store("pipeline-execution")[arn] = record
        pipeline["LastRunTime"] = pipeline["LastExecutionTime"] = stamp
    pipeline_run.Execution(record, definition).start()
    return {"PipelineExecutionArn": arn}


def _executions(pipeline: dict[str, Any]) -> list[dict[str, Any]]:
    rows = state.store("pipeline-execution").values()
    return [e for e in rows if e["PipelineArn"] == pipeline["PipelineArn"]]


def find_execution(arn: str) -> dict[str, Any]:
    record = state.store("pipeline-execution").get(arn)
    if record is None:
        raise ApiError("ResourceNotFound", f"Pipeline execution with ARN '{arn}' does not exist.")
    return record


@operation("DescribePipelineExecution", "PipelineExecutionArn")
def describe_execution(request: dict[str, Any]) -> dict[str, Any]:
    with state.LOCK:
        return state.public(find_execution(request["PipelineExecutionArn"]))


@operation("DescribePipelineDefinitionForExecution", "PipelineExecutionArn")
def describe_definition(request: dict[str, Any]) -> dict[str, Any]:
    record = find_execution(request["PipelineExecutionArn"])
    return {"PipelineDefinition": record["_definition"], "CreationTime": record["CreationTime"]}


@operation("ListPipelineExecutions", "PipelineName CreatedAfter CreatedBefore SortBy SortOrder NextToken MaxResults")
def list_executions(request: dict[str, Any]) -> dict[str, Any]:
    rows = [
        {**e, "StartTime": e["CreationTime"], "PipelineExecutionFailureReason": e.get("FailureReason")}
        for e in _created(_executions(find_pipeline(request["PipelineName"])), request)
    ]
    return state.listing(
        rows, request, answer="PipelineExecutionSummaries",
        summary=("PipelineExecutionArn", "StartTime", "PipelineExecutionStatus", "PipelineExecutionDescription",
                 "PipelineExecutionDisplayName", "PipelineExecutionFailureReason"),
    )


@operation("ListPipelineExecutionSteps", "PipelineExecutionArn NextToken MaxResults SortOrder")
def list_steps(request: dict[str, Any]) -> dict[str, Any]:
    with state.LOCK:
        rows = [dict(s) for s in find_execution(request["PipelineExecutionArn"])["_steps"].values()]
    rows.sort(key=lambda s: s["StartTime"], reverse=request.get("SortOrder") == "Descending")
    start, size = int(request.get("NextToken") or 0), request.get("MaxResults", 100)
    more = {"NextToken": str(start + size)} if start + size < len(rows) else {}
    return {"PipelineExecutionSteps": rows[start : start + size], **more}


@operation("ListPipelineParametersForExecution", "PipelineExecutionArn NextToken MaxResults")
def list_parameters(request: dict[str, Any]) -> dict[str, Any]:
    values = find_execution(request["PipelineExecutionArn"])["_values"]
    named = [{"Name": k, "Value": v if isinstance(v, str) else json.dumps(v)} for k, v in values.items()]
    return {"PipelineParameters": named}


@operation("StopPipelineExecution", "PipelineExecutionArn ClientRequestToken")
def stop_execution(request: dict[str, Any]) -> dict[str, Any]:
    record = find_execution(request["PipelineExecutionArn"])
    execution = pipeline_run.live(record["PipelineExecutionArn"])
    if execution is None:
        raise invalid(
            f"Only executions that run can be stopped; {record['PipelineExecutionArn']} is "
            f"{record['PipelineExecutionStatus']}"
        )
    if record["PipelineExecutionStatus"] != "Stopping":
        execution.stop()
    return {"PipelineExecutionArn": record["PipelineExecutionArn"]}


@operation("RetryPipelineExecution", "PipelineExecutionArn ClientRequestToken ParallelismConfiguration")
def retry_execution(request: dict[str, Any]) -> dict[str, Any]:
    """Finished steps stay as they are; failed and stopped ones run again."""
    record = find_execution(request["PipelineExecutionArn"])
    with state.LOCK:
        if record.get("_retry_token") == request["ClientRequestToken"]:
            return {"PipelineExecutionArn": record["PipelineExecutionArn"]}
        if record["PipelineExecutionStatus"] not in ("Failed", "Stopped"):
            status = record["PipelineExecutionStatus"]
            raise invalid(f"Only Failed and Stopped executions can be retried, this is {status}")
        record["_retry_token"] = request["ClientRequestToken"]
        record.pop("_end", None)
    execution = pipeline_run.Execution(record, parse(record["_definition"]))
    execution.set_status("Executing")
    execution.start()
    return {"PipelineExecutionArn": record["PipelineExecutionArn"]}

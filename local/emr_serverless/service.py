"""The HTTP face: REST calls become the operations below, checked against botocore's model as AWS checks them."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

from ministack.core.concurrency import run_reentrant
from ministack.core.responses import get_account_id

from local.emr_serverless import SERVICE, records, runs
from local.emr_serverless.spark_submit import Parameters
from local.sagemaker import roles, state
from local.sagemaker.errors import ApiError, not_supported
from local.sagemaker.service import Response, check_pass_role, error_response
from local.sagemaker.validation import check, one_of, service_model

Request = dict[str, Any]
_APPLICATION = ("releaseLabel", "maximumCapacity", "autoStartConfiguration", "autoStopConfiguration",
                "networkConfiguration", "architecture", "monitoringConfiguration")
_MONITORING = ("cloudWatchLoggingConfiguration", "managedPersistenceMonitoringConfiguration",
               "s3MonitoringConfiguration")
_MEMBERS = {
    "CreateApplication": {"name", "type", "clientToken", "tags", *_APPLICATION},
    "UpdateApplication": {"applicationId", "clientToken", *_APPLICATION},
    "GetApplication": {"applicationId"},
    "DeleteApplication": {"applicationId"},
    "StartJobRun": {"applicationId", "clientToken", "executionRoleArn", "name", "executionTimeoutMinutes", "tags",
                    "jobDriver.sparkSubmit", *(f"configurationOverrides.monitoringConfiguration.{m}"
                                               for m in _MONITORING)},
    "GetJobRun": {"applicationId", "jobRunId"},
    "CancelJobRun": {"applicationId", "jobRunId"},
    "ListJobRuns": {"applicationId", "states", "maxResults", "nextToken"},
}
_DEFAULT_TIMEOUT_MINUTES = 720  # AWS's


async def handle_request(method: str, path: str, headers: dict, body: bytes, query_params: dict) -> Response:
    """ministack's service protocol."""
    return await run_reentrant(_handle, method, path, headers, body, query_params, thread_name="emr-request")


def _handle(method: str, path: str, headers: dict, body: bytes, query: dict) -> Response:
    try:
        operation, request = _parse(method, path, body, query)
        if operation not in _MEMBERS:
            raise not_supported(f"operation {operation}", by="EMR Serverless")
        check(SERVICE, operation, request, frozenset(_MEMBERS[operation]))
        if operation == "StartJobRun":
            check_pass_role(request["executionRoleArn"], headers, to=runs.PRINCIPAL)
        answer = _OPERATIONS[operation](request)
    except ApiError as error:
        return error_response(error)
    return 200, {"Content-Type": "application/json"}, json.dumps(answer).encode()


@functools.cache
def _routes() -> list[tuple[str, re.Pattern[str], str]]:
    model = service_model(SERVICE)
    found = []
    for name in model.operation_names:
        http = model.operation_model(name).http
        pattern = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", http["requestUri"])
        found.append((http["method"], re.compile(pattern), name))
    return found


def _parse(method: str, path: str, body: bytes, query: dict) -> tuple[str, Request]:
    """(operation, its request): members come in the path, in the query and in the body."""
    for verb, pattern, name in _routes():
        match = pattern.fullmatch(path.rstrip("/"))
        if verb != method or match is None:
            continue
        try:
            request: Request = json.loads(body or b"{}")
        except ValueError as error:
            raise ApiError("SerializationException", f"the request is not JSON: {error}") from error
        request |= {member: unquote(value) for member, value in match.groupdict().items()}
        shape = service_model(SERVICE).operation_model(name).input_shape
        for member, of in (shape.members if shape else {}).items():
            given = query.get(of.serialization.get("name", member))
            if of.serialization.get("location") == "querystring" and given is not None:
                values = given if isinstance(given, list) else [given]
                request[member] = values if of.type_name == "list" else (
                    int(values[0]) if of.type_name == "integer" else values[0])
        return name, request
    raise ApiError("UnknownOperationException", f"EMR Serverless has no operation {method} {path}", status=404)


# -- applications ------------------------------------------------------------------------------------------


def _create_application(request: Request) -> dict[str, Any]:
    one_of(request["type"].upper(), ("SPARK",), "type", by="EMR Serverless")
    _check_monitoring(request.get("monitoringConfiguration", {}))
    with state.LOCK:
        known = [a for a in records.applications.values() if a["_token"] == request["clientToken"]]
        record = known[0] if known else _new_application(request)
    return {"applicationId": record["applicationId"], "name": record.get("name"), "arn": record["arn"]}


def _new_application(request: Request) -> dict[str, Any]:
    application_id, stamp = f"00{state.new_id(14)}", state.now()
    record = {
        **{k: v for k, v in request.items() if k != "clientToken"}, "_token": request["clientToken"],
        "type": "Spark", "applicationId": application_id, "arn": records.arn(f"applications/{application_id}"),
        "state": "CREATED", "createdAt": stamp, "updatedAt": stamp,
    }
    records.applications[application_id] = record
    return record


def _update_application(request: Request) -> dict[str, Any]:
    """AWS wants the application stopped; CloudFormation stops it by itself, and here nothing ever starts."""
    record = records.application(request["applicationId"])
    _check_monitoring(request.get("monitoringConfiguration", {}))
    with state.LOCK:
        record.update({k: v for k, v in request.items() if k in _APPLICATION}, updatedAt=state.now())
    return {"application": state.public(record)}


def _get_application(request: Request) -> dict[str, Any]:
    return {"application": state.public(records.application(request["applicationId"]))}


def _delete_application(request: Request) -> dict[str, Any]:
    record = records.application(request["applicationId"])
    with state.LOCK:
        alive = [run["jobRunId"] for run in records.runs_of(record["applicationId"])
                 if run["state"] not in records.ENDED]
        if alive:
            raise ApiError("ValidationException", f"Application {record['applicationId']} has job runs that have not "
                           f"ended ({', '.join(alive)}): cancel them or wait")
        record.update(state="TERMINATED", updatedAt=state.now())
    return {}


def _check_monitoring(wanted: dict[str, Any]) -> None:
    refused = sorted(set(wanted) - set(_MONITORING))
    if refused:
        raise not_supported(f"monitoringConfiguration.{refused[0]}", by="EMR Serverless")


# -- job runs ----------------------------------------------------------------------------------------------


def _start_job_run(request: Request) -> dict[str, Any]:
    """The same client token is the same job run, as long as it is asked for the same."""
    application = records.application(request["applicationId"])
    if "sparkSubmit" not in request.get("jobDriver", {}):
        raise ApiError("ValidationException", "StartJobRun needs jobDriver.sparkSubmit")
    Parameters.parse(request["jobDriver"]["sparkSubmit"].get("sparkSubmitParameters", ""))
    roles.check_trust(request["executionRoleArn"], runs.PRINCIPAL)
    with state.LOCK:
        known = [run for run in records.runs_of(application["applicationId"])
                 if run["_request"]["clientToken"] == request["clientToken"]]
        if known and known[0]["_request"] != request:
            raise ApiError("ConflictException", f"clientToken {request['clientToken']!r} was used for job run "
                           f"{known[0]['jobRunId']} with other parameters", status=409)
        record = known[0] if known else _new_run(application, request)
    if not known:
        runs.JobRun(record).start()
    return {k: record[k] for k in ("applicationId", "jobRunId", "arn")}


def _new_run(application: dict[str, Any], request: Request) -> dict[str, Any]:
    application_id, run_id, stamp = application["applicationId"], f"00{state.new_id(14)}", state.now()
    overrides = request.get("configurationOverrides", {}).get("monitoringConfiguration", {})
    record = {
        "applicationId": application_id, "jobRunId": run_id, "name": request.get("name"),
        "arn": records.arn(f"applications/{application_id}/jobruns/{run_id}"), "state": "SUBMITTED",
        "stateDetails": "", "createdBy": f"arn:aws:iam::{get_account_id()}:root", "createdAt": stamp,
        "updatedAt": stamp, "executionRole": request["executionRoleArn"], "releaseLabel": application["releaseLabel"],
        "jobDriver": request["jobDriver"], "mode": "BATCH",
        "executionTimeoutMinutes": request.get("executionTimeoutMinutes", _DEFAULT_TIMEOUT_MINUTES),
        "configurationOverrides": request.get("configurationOverrides"), "tags": request.get("tags"),
        "_request": request, "_monitoring": {**application.get("monitoringConfiguration", {}), **overrides},
    }
    records.job_runs[application_id, run_id] = record
    return record


def _get_job_run(request: Request) -> dict[str, Any]:
    with state.LOCK:
        return {"jobRun": state.public(records.job_run(request["applicationId"], request["jobRunId"]))}


def _cancel_job_run(request: Request) -> dict[str, Any]:
    record = records.job_run(request["applicationId"], request["jobRunId"])
    runs.cancel(record)
    return {k: record[k] for k in ("applicationId", "jobRunId")}


def _list_job_runs(request: Request) -> dict[str, Any]:
    application, wanted = records.application(request["applicationId"]), request.get("states")
    rows = [run for run in records.runs_of(application["applicationId"]) if not wanted or run["state"] in wanted]
    start, size = int(request.get("nextToken") or 0), request.get("maxResults", 50)
    shape = service_model(SERVICE).shape_for("JobRunSummary")
    known = set(getattr(shape, "members", {}))
    page = [{k: v for k, v in {**state.public(run), "id": run["jobRunId"], "type": "Spark"}.items() if k in known}
            for run in rows[start:start + size]]
    more = {"nextToken": str(start + size)} if start + size < len(rows) else {}
    return {"jobRuns": page, **more}


_OPERATIONS: dict[str, Callable[[Request], dict[str, Any]]] = {
    "CreateApplication": _create_application, "UpdateApplication": _update_application,
    "GetApplication": _get_application, "DeleteApplication": _delete_application, "StartJobRun": _start_job_run,
    "GetJobRun": _get_job_run, "CancelJobRun": _cancel_job_run, "ListJobRuns": _list_job_runs,
}


# -- ministack's persistence protocol ----------------------------------------------------------------------


def get_state() -> dict[str, Any]:
    with state.LOCK:
        return {"applications": records.applications, "job_runs": records.job_runs}


def load_persisted_state(data: dict[str, Any]) -> None:
    for name, kept in (("applications", records.applications), ("job_runs", records.job_runs)):
        if name in data:
            kept.update(data[name])
    runs.end_lost_runs()


def reset() -> None:
    with state.LOCK:
        records.applications.clear()
        records.job_runs.clear()

"""Applications and job runs, by account and region, in the shape of the Get answers; keys with `_` are ours."""

from __future__ import annotations

from typing import Any

from ministack.core.responses import AccountRegionScopedDict, get_account_id, get_region

from local.emr_serverless import SERVICE
from local.sagemaker.errors import ApiError

ENDED = ("SUCCESS", "FAILED", "CANCELLED")
applications, job_runs = AccountRegionScopedDict(), AccountRegionScopedDict()  # the latter by (application, run)


def arn(path: str) -> str:
    return f"arn:aws:{SERVICE}:{get_region()}:{get_account_id()}:/{path}"


def application(application_id: str) -> dict[str, Any]:
    found: dict[str, Any] | None = applications.get(application_id)
    if found is None or found["state"] == "TERMINATED":
        raise _not_found(f"Application {application_id}")
    return found


def job_run(application_id: str, run_id: str) -> dict[str, Any]:
    application(application_id)
    found: dict[str, Any] | None = job_runs.get((application_id, run_id))
    if found is None:
        raise _not_found(f"JobRun {run_id} of application {application_id}")
    return found


def runs_of(application_id: str) -> list[dict[str, Any]]:
    """Newest first."""
    found = [run for run in job_runs.values() if run["applicationId"] == application_id]
    return sorted(found, key=lambda run: run["createdAt"], reverse=True)


def _not_found(what: str) -> ApiError:
    return ApiError("ResourceNotFoundException", f"{what} does not exist.", status=404)

"""Which resource a call is authorised on: the application that its path names, or one of its job runs."""

from __future__ import annotations

from typing import Any

from local.emr_serverless import SERVICE


def resource_arn(
    service: str, method: str, path: str, headers: dict, body: bytes, query: Any, region: str, account: str
) -> str | None:
    """The resource for ministack's IAM check; None for services that are not ours.

    https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonemrserverless.html: StartJobRun and
    ListJobRuns name the application, GetJobRun and CancelJobRun the job run.
    """
    if service != SERVICE:
        return None
    named = "/".join(part for part in path.split("/") if part)
    if named in ("", "applications"):
        return "*"
    return f"arn:aws:{SERVICE}:{region}:{account}:/{named.removesuffix('/jobruns')}"

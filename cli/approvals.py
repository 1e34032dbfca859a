"""Say yes or no to a release that waits for a person."""

from __future__ import annotations

import json
from dataclasses import dataclass

from botocore.exceptions import ClientError

from cli.errors import CliError
from cli.target import Target
from contracts import naming

MAX_REASON = 500  # it becomes part of the registry's description of the version
_WAITS_NO_MORE = ("TaskTimedOut", "TaskDoesNotExist", "InvalidToken")


@dataclass(frozen=True, kw_only=True)
class Question:
    """The last release that asked; it may have had its answer."""

    token: str
    run_id: str
    version: str


def question(target: Target, slug: str) -> Question:
    try:
        found = target.client("ssm").get_parameter(Name=naming.approval_parameter(slug))["Parameter"]["Value"]
    except ClientError as error:
        if error.response["Error"]["Code"] == "ParameterNotFound":
            raise CliError(f"no release of {slug} ever asked for approval; its contract says `approval_within_s` when "
                           "it is to") from None
        raise
    token, run_id, version = found.split(" ")
    return Question(token=token, run_id=run_id, version=version)


def answer(target: Target, slug: str, version: str, *, approved: bool, reason: str) -> Question:
    """Answer for exactly this version, as the caller's own identity; CliError when nobody waits for that."""
    if not 1 <= len(reason) <= MAX_REASON:
        raise CliError(f"the reason must have 1 to {MAX_REASON} characters, got {len(reason)}")
    asked = question(target, slug)
    if asked.version != version:
        raise CliError(f"run {asked.run_id} asks about version {asked.version} of {slug}, not {version}")
    said = {"approved": approved, "who": target.client("sts").get_caller_identity()["Arn"], "why": reason}
    try:
        target.client("stepfunctions").send_task_success(taskToken=asked.token, output=json.dumps(said))
    except ClientError as error:
        if error.response["Error"]["Code"] in _WAITS_NO_MORE:
            raise CliError(f"run {asked.run_id} waits no more: it had its answer, or its time is over; "
                           f"`mangaassist status {slug}` shows how it ended") from None
        raise
    return asked

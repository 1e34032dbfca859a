"""{"story"} -> {"status": new|up_to_date|nothing|rejected_here, "version", "manifest_sha256", ...}: what home serves.

SignatureInvalid or OlderVersion when it must not be received. Reads only.
"""

from __future__ import annotations

import base64
from typing import Any

from contracts import naming, stories
from contracts.functions import ReceivePlanEnv
from lambdas.receive_plan.logic import Status, choose_status, home_version
from lambdas.shared import packages
from lambdas.shared.aws import client, environment
from lambdas.shared.home import announcement_uri, home_s3, read_announcement
from lambdas.shared.observability import instrumented
from lambdas.shared.pointer import read_pointer


@instrumented("receive_plan")
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    env, story = environment(ReceivePlanEnv), stories.story(event["story"]).slug
    found = read_announcement(home_s3(env.HOME_REGION), announcement_uri(env.HOME_BUCKET, story), story=story,
                              pin=env.HOME_KEY_SHA256)
    if found is None:
        return {"status": str(Status.NOTHING), "version": "", "manifest_sha256": "", "label_version_to": "",
                "verdict_uri": "", "public_key": ""}
    said, public_key = found
    sagemaker = client("sagemaker")
    pointer = read_pointer(client("dynamodb"), env.CONTROL_TABLE, story)
    if pointer is not None and pointer["manifest_sha256"] == said.manifest_sha256:
        status = Status.UP_TO_DATE
    else:
        serving = pointer and sagemaker.describe_model_package(ModelPackageName=pointer["model_package_arn"])
        known = packages.find(sagemaker, naming.model_package_group(story), said.manifest_sha256)
        status = choose_status(said, serving=home_version(serving) if serving else None, known=known)
    return {
        "status": str(status),
        "version": str(said.version),
        "manifest_sha256": said.manifest_sha256,
        "label_version_to": said.label_version_to,
        "verdict_uri": said.verdict_uri,
        "public_key": base64.b64encode(public_key).decode(),
    }

"""Custom resource {"ProjectName", "Repository", "Tag"} -> Data {"ImageUri": "repository@sha256:..."}.

The tag is the hash of the image's sources: an image that is there is not built again. A build that
outlives one invocation is waited for by the next, which this function starts itself.
"""

from __future__ import annotations

import json
import time
import urllib.request
from typing import Any

from contracts.functions import ImageBuilderEnv
from lambdas.image_builder.logic import HAND_OVER_MS, IMAGE_TAG, ImageRequest, build_outcome, response
from lambdas.shared.aws import aws_errors, client, client_error, environment, error_code
from lambdas.shared.errors import StepError
from lambdas.shared.observability import instrumented, logger

BUILD_ID = "BuildId"  # in the event of an invocation that goes on waiting


@instrumented("image_builder")
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    if event["RequestType"] == "Delete":  # images stay: something may still run on them
        return _tell(event, response(event, physical_id=event["PhysicalResourceId"]))
    physical_id = event.get("PhysicalResourceId") or event["LogicalResourceId"]
    try:
        request = ImageRequest.from_event(event)
        physical_id = request.physical_id
        image_uri = _image(request, event, context)
    except (
        StepError,
        KeyError,
        *aws_errors(),
    ) as error:  # an unanswered resource blocks its stack for an hour
        logger.exception("image not built")
        return _tell(
            event, response(event, physical_id=physical_id, error=f"{type(error).__name__}: {error}")
        )
    if not image_uri:
        return {"state": "building"}
    return _tell(event, response(event, physical_id=physical_id, image_uri=image_uri))


def _image(request: ImageRequest, event: dict[str, Any], context: Any) -> str:
    """The image's URI; empty when a fresh invocation has taken over the waiting."""
    found = _find(request)
    if found:
        return found
    build = event.get(BUILD_ID) or _start(request, str(event["RequestId"]))
    pause, longest = 1, environment(ImageBuilderEnv).POLL_S
    while not build_outcome(client("codebuild").batch_get_builds(ids=[build])["builds"][0]):
        if context.get_remaining_time_in_millis() < HAND_OVER_MS:
            client("lambda").invoke(
                FunctionName=context.invoked_function_arn,
                InvocationType="Event",
                Payload=json.dumps({**event, BUILD_ID: build}).encode(),
            )
            return ""
        time.sleep(pause)
        pause = min(2 * pause, longest)
    found = _find(request)
    if not found:
        raise StepError(
            f"build {build} succeeded but {request.repository}:{request.tag} is not in ECR; "
            f"the build must push the tag in ${IMAGE_TAG}"
        )
    return found


def _start(request: ImageRequest, token: str) -> str:
    started = client("codebuild").start_build(
        projectName=request.project,
        idempotencyToken=token,
        environmentVariablesOverride=[{"name": IMAGE_TAG, "value": request.tag, "type": "PLAINTEXT"}],
    )
    return str(started["build"]["id"])


def _find(request: ImageRequest) -> str:
    ecr = client("ecr")
    try:
        images = ecr.describe_images(repositoryName=request.repository, imageIds=[{"imageTag": request.tag}])
    except client_error() as error:
        if error_code(error) == "ImageNotFoundException":
            return ""
        raise
    repository = ecr.describe_repositories(repositoryNames=[request.repository])["repositories"][0]
    return f"{repository['repositoryUri']}@{images['imageDetails'][0]['imageDigest']}"


def _tell(event: dict[str, Any], body: dict[str, Any]) -> dict[str, Any]:
    """Put the answer where CloudFormation waits for it (a presigned S3 address)."""
    request = urllib.request.Request(
        event["ResponseURL"], data=json.dumps(body).encode(), method="PUT", headers={"Content-Type": ""}
    )  # the presigned address was signed without one
    with urllib.request.urlopen(request, timeout=10):
        return {"state": body["Status"], "image_uri": body.get("Data", {}).get("ImageUri", "")}

"""From an image URI to its files, through ECR with the execution role."""

from __future__ import annotations

from dataclasses import replace

from local.sagemaker.aws_http import AwsError, Client
from local.sagemaker.errors import JobFailure
from local.sagemaker.images import Image, ImageRef, load


def find_image(uri: str, client: Client) -> Image:
    """The image that the URI names now; what the role may not pull, or nobody built, is a failure."""
    ref = ImageRef.parse(uri)
    there = replace(client, region=ref.region)
    try:
        there.call("ecr", "GetAuthorizationToken", {})
        answer = there.call("ecr", "BatchGetImage", {"repositoryName": ref.repo, "imageIds": [ref.image_id()]})
    except AwsError as error:
        raise JobFailure(f"ClientError: cannot pull image {uri}: {error}") from error
    if not answer.get("images"):
        wanted = ref.digest or f"tag {ref.tag!r}"
        raise JobFailure(f"ClientError: cannot pull image {uri}: repository {ref.repo!r} has no {wanted}")
    digest = answer["images"][0]["imageId"]["imageDigest"]
    _check_layer_grant(there, ref, uri, digest)
    image = load(ref.repo, digest)
    if image is None:
        raise JobFailure(
            f"ClientError: image {uri} ({digest}) was not built by the embedded CodeBuild, so it cannot run here"
        )
    return image


def _check_layer_grant(client: Client, ref: ImageRef, uri: str, digest: str) -> None:
    try:
        client.call("ecr", "GetDownloadUrlForLayer", {"repositoryName": ref.repo, "layerDigest": digest})
    except AwsError as error:
        raise JobFailure(f"ClientError: cannot pull image {uri}: {error}") from error

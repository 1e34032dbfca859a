"""Container registry: an image that is asked for by name and is not there is an error, as on AWS."""

from __future__ import annotations

from typing import Any

from local.config import LocalConfig


def install(config: LocalConfig) -> None:
    from ministack.core.responses import error_response_json
    from ministack.services import ecr

    original = ecr._describe_images

    def described(data: dict[str, Any]) -> Any:
        repository = data.get("repositoryName", "")
        for wanted in data.get("imageIds") or ():
            if repository in ecr._repositories and not ecr._find_image(repository, wanted):
                return error_response_json(
                    "ImageNotFoundException",
                    f"The image with imageId {wanted} does not exist within the repository with name '{repository}'",
                    400,
                )
        return original(data)

    ecr._describe_images = described

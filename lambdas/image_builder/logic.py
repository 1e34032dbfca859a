"""A custom resource that builds an image: what CloudFormation is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lambdas.shared.errors import InvalidInput, StepError

IMAGE_TAG = "IMAGE_TAG"  # the build's environment variable
HAND_OVER_MS = 60_000  # with less time left than this, a fresh invocation goes on waiting


class BuildFailed(StepError):
    """CodeBuild could not build the image; its log says why."""


@dataclass(frozen=True, kw_only=True)
class ImageRequest:
    project: str
    repository: str
    tag: str

    @classmethod
    def from_event(cls, event: Mapping[str, Any]) -> ImageRequest:
        properties = event["ResourceProperties"]
        missing = [name for name in ("ProjectName", "Repository", "Tag") if not properties.get(name)]
        if missing:
            raise InvalidInput(f"the image resource needs {', '.join(missing)}")
        return cls(
            project=properties["ProjectName"], repository=properties["Repository"], tag=properties["Tag"]
        )

    @property
    def physical_id(self) -> str:
        """One resource per repository: a new tag is an update, never a replacement that deletes."""
        return self.repository


def response(
    event: Mapping[str, Any], *, physical_id: str, image_uri: str = "", error: str = ""
) -> dict[str, Any]:
    body = {
        "Status": "FAILED" if error else "SUCCESS",
        "PhysicalResourceId": physical_id,
        "StackId": event["StackId"],
        "RequestId": event["RequestId"],
        "LogicalResourceId": event["LogicalResourceId"],
        "Reason": error[:1_000] or "see the function's log",
    }
    return {**body, "Data": {"ImageUri": image_uri}} if image_uri else body


def build_outcome(build: Mapping[str, Any]) -> bool:
    """True when built, False while building; BuildFailed otherwise."""
    status = build["buildStatus"]
    if status == "SUCCEEDED":
        return True
    if status == "IN_PROGRESS":
        return False
    log = (build.get("logs") or {}).get("deepLink", "its CodeBuild log")
    raise BuildFailed(f"build {build['id']} ended {status}: see {log}")

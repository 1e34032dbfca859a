"""Home's announcement against what this region serves and what it once turned down."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from contracts.announcements import Announcement
from lambdas.shared.errors import EvidenceMissing, OlderVersion


class Status(StrEnum):
    NEW = "new"
    UP_TO_DATE = "up_to_date"
    NOTHING = "nothing"  # home never promoted
    REJECTED_HERE = "rejected_here"  # this region served it and went back: it waits for a newer one


def home_version(package: Mapping[str, Any]) -> int:
    """Home's number of a version that was received."""
    number = package.get("CustomerMetadataProperties", {}).get("home_version", "")
    if not number.isdecimal():
        raise EvidenceMissing(f"{package.get('ModelPackageArn')} does not say which version of home it is: what serves "
                              "was not received, so nothing can be told to be newer")
    return int(number)


def choose_status(said: Announcement, *, serving: int | None, known: Mapping[str, Any] | None) -> Status:
    """For another version than the one that serves here.

    `serving`: home's number of what serves here, `known`: the package of the announced version, if it is here.
    OlderVersion when home announces an older version than the one that serves here, or another one of its number.
    """
    if serving is not None and said.version <= serving:
        raise OlderVersion(
            f"home announces its version {said.version} of {said.story}, but its version {serving} serves here; an "
            "older one is never received. If home went back on purpose, roll this region back, too")
    if known is not None and known["ModelApprovalStatus"] == "Rejected":
        return Status.REJECTED_HERE
    return Status.NEW

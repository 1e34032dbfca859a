"""The three deployments: each is self-contained and lives in one region.

The home deployment trains; the others receive signed copies of the weights.
Customer data never leaves its region.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Deployment:
    name: str
    region: str
    home: bool = False


JP = Deployment(name="jp", region="ap-northeast-1", home=True)
US = Deployment(name="us", region="us-east-1")
EU = Deployment(name="eu", region="eu-west-1")

HOME = JP

DEPLOYMENTS: tuple[Deployment, ...] = (JP, US, EU)


def deployment(name: str) -> Deployment:
    """The deployment called `name`; ValueError names the allowed ones."""
    for candidate in DEPLOYMENTS:
        if candidate.name == name:
            return candidate
    allowed = ", ".join(d.name for d in DEPLOYMENTS)
    raise ValueError(f"unknown deployment {name!r}: allowed are {allowed}")

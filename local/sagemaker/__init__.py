"""A SageMaker of our own inside ministack: jobs, pipelines, registry, endpoints and feature store that really run.

It imports nothing of any project and knows no story. The server calls `register` once, after ministack's modules
are imported and before it serves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from local.config import LocalConfig

__all__ = ["register"]


def register(config: LocalConfig) -> None:
    """Hook SageMaker, Application Auto Scaling and the image builds into the running ministack."""
    from local.sagemaker import hooks, restart, state

    state.configure(config)
    restart.remove_leftovers()
    hooks.install()

"""EMR Serverless of our own inside ministack: applications are records, Spark job runs are real processes.

It imports nothing of any project. Java and pyspark are asked for by a job run only: without them everything deploys.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from local.config import LocalConfig

__all__ = ["SERVICE", "register"]
SERVICE = "emr-serverless"


def register(config: LocalConfig) -> None:
    """Hook the service into the running ministack, after `local.sagemaker`, whose parts it uses."""
    from ministack.core import iam_actions

    from local.emr_serverless import iam, service
    from local.sagemaker.hooks import add_service, ask_first

    add_service(SERVICE, service, target="AmazonEMRServerless.", hosts=[r"^emr-serverless\."])
    iam_actions._BOTOCORE_SERVICE_MAP[SERVICE] = [SERVICE]
    ask_first(iam_actions, "extract_resource_arn", iam.resource_arn)

"""What an endpoint is doing, in the few facts that a release needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lambdas.shared.aws import client_error, error_code

IN_SERVICE, FAILED, ROLLING_BACK, UPDATING, CREATING = (
    "InService",
    "Failed",
    "RollingBack",
    "Updating",
    "Creating",
)
ROLLBACK_FAILED = "UpdateRollbackFailed"
MOVING = frozenset({CREATING, UPDATING, ROLLING_BACK, "SystemUpdating"})


@dataclass(frozen=True, kw_only=True)
class EndpointState:
    status: str
    config: str  # serves now; during an update still the old one
    pending: str = ""  # what an update in flight moves to
    reason: str = ""
    instances: int = 1  # of its first variant, as autoscaling wants them

    @property
    def moving(self) -> bool:
        return self.status in MOVING


def describe(sagemaker: Any, name: str) -> EndpointState | None:
    """None when the endpoint does not exist."""
    try:
        found = sagemaker.describe_endpoint(EndpointName=name)
    except client_error() as error:
        # SageMaker has no not-found code for endpoints: a ValidationException that says so
        if error_code(error) == "ValidationException" and "could not find" in str(error).lower():
            return None
        raise
    return EndpointState(
        status=found["EndpointStatus"],
        config=found.get("EndpointConfigName", ""),
        pending=found.get("PendingDeploymentSummary", {}).get("EndpointConfigName", ""),
        reason=found.get("FailureReason", ""),
        instances=next((v.get("DesiredInstanceCount", 1) for v in found.get("ProductionVariants", [])), 1),
    )

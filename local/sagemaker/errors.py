"""The refusals that callers see, with the codes that AWS uses."""

from __future__ import annotations


class ApiError(Exception):
    """A request that is answered with an AWS error. The code is what boto3 shows as `Error.Code`."""

    def __init__(self, code: str, message: str, *, status: int = 400, extra: dict | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status
        self.extra = extra or {}


def invalid(message: str) -> ApiError:
    """SageMaker answers most bad requests with ValidationException."""
    return ApiError("ValidationException", message)


def not_supported(what: str, *, by: str = "SageMaker") -> ApiError:
    """A thing AWS has and this embedded service does not: said, never ignored."""
    return ApiError("ValidationException", f"{what} is not supported by the embedded {by}")


class JobFailure(Exception):
    """A job, endpoint or build fails with this text as its FailureReason (AWS cuts it at 1024)."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason[:1024]

"""boto3 clients and the typed environment: both made at first use, kept for the life of the worker."""

from __future__ import annotations

from functools import cache
from typing import Any, TypeVar

from contracts.environment import Environment

# A step waits at most this long on one answer; Step Functions does the patient retrying.
CONNECT_TIMEOUT_S, READ_TIMEOUT_S, ATTEMPTS = 2, 10, 3

Env = TypeVar("Env", bound=Environment)


@cache
def environment(cls: type[Env]) -> Env:
    return cls.from_environ()


@cache
def client(
    service: str, *, region: str | None = None, read_timeout_s: float = READ_TIMEOUT_S, attempts: int = ATTEMPTS
) -> Any:
    """A boto3 client with bounded waits, of the function's own region unless another one is named."""
    import boto3
    from botocore.config import Config

    return boto3.client(
        service,
        region_name=region,
        config=Config(
            connect_timeout=CONNECT_TIMEOUT_S,
            read_timeout=read_timeout_s,
            retries={"mode": "standard", "total_max_attempts": attempts},
        ),
    )


def error_code(error: Exception) -> str:
    """The AWS error code of a ClientError; empty for anything else."""
    response = getattr(error, "response", None)
    return str(response["Error"]["Code"]) if isinstance(response, dict) and "Error" in response else ""


def aws_errors() -> Any:
    """All that a call can raise: refused by the service, or the service not reached."""
    from botocore.exceptions import BotoCoreError, ClientError

    return (ClientError, BotoCoreError)


def client_error() -> Any:
    """ClientError, imported when an `except` clause first needs it."""
    from botocore.exceptions import ClientError

    return ClientError

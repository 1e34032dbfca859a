"""Execution roles: clients that act as a role, and what a container sees of AWS.

The role must exist and its trust policy must name the service; otherwise the call is refused with AWS's words.
"""

from __future__ import annotations

from botocore.credentials import Credentials
from ministack.core.responses import get_region

from local import roles
from local.sagemaker import state
from local.sagemaker.aws_http import Client
from local.sagemaker.errors import invalid

SAGEMAKER = "sagemaker.amazonaws.com"
CODEBUILD = "codebuild.amazonaws.com"


def assume(role_arn: str, session: str, *, service: str = SAGEMAKER) -> Client:
    """A client that acts as the role. `session` shows in `aws:userid` and in error texts."""
    check_trust(role_arn, service)
    keys = roles.credentials(role_arn, service, session[:64])
    return Client(
        endpoint_url=state.config().endpoint_url,
        region=get_region(),
        credentials=Credentials(
            keys["aws_access_key_id"], keys["aws_secret_access_key"], keys["aws_session_token"]
        ),
    )


def check_trust(role_arn: str, service: str = SAGEMAKER) -> None:
    """Refuse a role that is absent or does not trust the service."""
    try:
        roles.check_trust(role_arn, service)
    except roles.RoleRefused as refused:
        raise invalid(
            f"Could not assume role {role_arn}. Please ensure that the role exists and allows principal "
            f"'{service}' to assume the role. ({refused})"
        ) from refused


def environment(client: Client, *, isolated: bool) -> dict[str, str]:
    """What a container sees of AWS: nothing but the region when its network is isolated."""
    region = {
        "AWS_REGION": client.region,
        "AWS_DEFAULT_REGION": client.region,
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    if isolated:
        return region
    return {
        **region,
        "AWS_ACCESS_KEY_ID": client.credentials.access_key,
        "AWS_SECRET_ACCESS_KEY": client.credentials.secret_key,
        "AWS_SESSION_TOKEN": client.credentials.token,
        "AWS_ENDPOINT_URL": client.endpoint_url,
    }

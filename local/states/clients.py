"""boto3 clients that call this server as the state machine's role.

A client is kept per (service, region, role): making one costs 50 ms and half a megabyte.
"""

from __future__ import annotations

import threading
from typing import Any

import boto3
from botocore.config import Config

from local import roles
from local.config import LocalConfig

STATES_SERVICE = "states.amazonaws.com"


class ClientFactory:
    def __init__(self, config: LocalConfig) -> None:
        self._config = config
        self._clients: dict[tuple[str, str, str], Any] = {}
        self._lock = threading.Lock()

    def __call__(self, region: str, service: str, state_credentials: Any = None) -> Any:
        """The signature of moto's boto_client_for."""
        if state_credentials is None:
            raise ValueError(f"a call to {service} without the state machine's role")
        role_arn = state_credentials.role_arn
        keys = roles.credentials(role_arn, STATES_SERVICE, "states")
        with self._lock:
            client = self._clients.get((service, region, role_arn))
            if client is None:
                client = self._clients[service, region, role_arn] = boto3.client(  # type: ignore[call-overload]
                    service, region_name=region, endpoint_url=self._config.endpoint_url, **keys,
                    config=Config(retries={"total_max_attempts": 1}, connect_timeout=10, read_timeout=3600,
                                  max_pool_connections=20, parameter_validation=True,
                                  inject_host_prefix=False, s3={"addressing_style": "path"}),
                )
        return client

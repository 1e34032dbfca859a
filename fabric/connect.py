"""A fabric for a deployment: what it needs is found in Parameter Store and Secrets Manager, once, at the start."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from redis.credentials import CredentialProvider

from contracts import metrics, naming, stories
from contracts.inference_cache import CacheAddress
from contracts.kill_switches import GLOBAL_FREEZE
from fabric import cache as caches
from fabric.client import Fabric, client
from fabric.counters import Counters
from fabric.endpoint import CACHE_SHARE
from fabric.serving_version import ServingVersion

log = logging.getLogger("mangaassist.fabric")

START_S = 2.0  # the longest wait for a parameter or the secret, when a process starts
_TOKEN_S = 900  # ElastiCache's limit for an IAM token


class IamCredentials(CredentialProvider):
    """User and a fresh signed token for each connection: ElastiCache keeps no password of ours.

    Source: "Authenticating with IAM", Amazon ElastiCache user guide.
    """

    def __init__(self, address: CacheAddress, session: Any) -> None:
        self._address, self._session = address, session

    def get_credentials(self) -> tuple[str, str]:
        from botocore.model import ServiceId
        from botocore.signers import RequestSigner

        region = self._session.region_name
        signer = RequestSigner(ServiceId("elasticache"), region, "elasticache", "v4", self._session.get_credentials(),
                               self._session.events)
        query = urlencode({"Action": "connect", "User": self._address.user})
        url = signer.generate_presigned_url(
            {"method": "GET", "url": f"https://{self._address.name}/?{query}", "body": {}, "headers": {},
             "context": {}}, operation_name="connect", expires_in=_TOKEN_S, region_name=region)
        return self._address.user, str(url).removeprefix("https://")


def connect(story: str, *, deployment: str, session: Any = None, emit: Callable[[str], None] = print) -> Fabric:
    """The chatbot's fabric. `emit` gets metric lines for the log that CloudWatch reads.

    A cache that can't be found at the start leaves a fabric without one, and says so: questions are answered.
    """
    import boto3

    session = session or boto3.Session()
    deadline_s = stories.story(story).inference.deadline_ms / 1000
    counters = Counters(story, emit)
    serving = ServingVersion(
        story, deployment=deployment, dynamodb=client("dynamodb", session, deadline_s),
        ssm=client("ssm", session, START_S),
        on_unread_flag=lambda: counters.count(metrics.FLAG_FALLBACK, flag=GLOBAL_FREEZE.name))
    serving.refresh()
    return Fabric(story, session=session, serving=serving, cache=_cache(story, session, deadline_s),
                  counters=counters)


def _cache(story: str, session: Any, deadline_s: float) -> caches.InferenceCache | None:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        found = client("ssm", session, START_S).get_parameter(Name=naming.INFERENCE_CACHE_PARAMETER)
        address = CacheAddress.from_json(found["Parameter"]["Value"])
        secret = client("secretsmanager", session, START_S).get_secret_value(SecretId=address.secret_arn)
    except (BotoCoreError, ClientError) as error:
        log.warning("no cache for %s: %s; every question goes to the endpoint", story, type(error).__name__)
        return None
    server = caches.client(address.host, port=address.port, timeout_s=CACHE_SHARE * deadline_s,
                           credentials=IamCredentials(address, session))
    return caches.InferenceCache(server, story=story, secret=secret["SecretString"].encode(),
                                 ttl_s=stories.story(story).inference.cache_ttl_s)

"""Other regions. An embedded AWS is one region; what is signed for another one is asked of its peer there.

Only reading from S3: that is all that crosses a region. The caller's role is judged here, where it lives, for the
request and for the key of the object that comes back; the peer is asked in root's name.
"""

from __future__ import annotations

import asyncio
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from local import object_keys
from local.config import ROOT_KEY, LocalConfig

Answer = tuple[int, dict[str, str], bytes]
_TIMEOUT_S = 60
_KEY_HEADER = "x-amz-server-side-encryption-aws-kms-key-id"
_PASSED = ("range", "if-match", "if-none-match", "x-amz-checksum-mode")
_DROPPED = ("connection", "transfer-encoding", "date", "server")


class Peers:
    def __init__(self, config: LocalConfig, ministack_app: Any) -> None:
        self._config, self._ministack = config, ministack_app

    def region_of(self, headers: dict[str, str], query: dict[str, Any]) -> str:
        """The peer's region that a request is signed for; empty when it is ours."""
        from ministack.core.router import extract_region

        region = str(extract_region(headers, query))
        return region if region in self._config.peers and region != self._config.region else ""

    async def ask(self, region: str, method: str, action: str, resource: str, headers: dict[str, str],
                  query: dict[str, Any], request_id: str) -> Answer:
        from ministack.core.iam_actions import access_denied_response, s3_service_context

        if method not in ("GET", "HEAD") or not action.startswith("s3:"):
            refused: Answer = access_denied_response(
                "s3", action, "", request_id, error_code="NotImplemented", headers=headers,
                message=f"Only reads of S3 reach another region here; {action or method} in {region} does not")
            return refused
        bucket, _, key = resource.removeprefix("arn:aws:s3:::").partition("/")
        context = s3_service_context(action, query, f"/{bucket}/{key}", headers)
        denied: Answer | None = self._ministack._enforce_data_plane(
            "s3", action, headers, query, request_id, resource_arn=resource, service_context=context)
        if denied is not None:
            return denied
        url = f"{self._config.peers[region]}/{bucket}/{quote(key)}?{_query(query)}"
        answer = await asyncio.to_thread(_send, method, url, region, headers)
        key_id = answer[1].get(_KEY_HEADER, "")
        if method == "GET" and key_id and answer[0] < 300:
            arn = key_id if key_id.startswith("arn:") else f"arn:aws:kms:{region}:{self._config.account}:key/{key_id}"
            return object_keys.denied(object_keys.READ, arn, headers, query, request_id) or answer
        return answer


def _query(query: dict[str, Any]) -> str:
    pairs = [(name, value) for name, values in query.items()
             for value in (values if isinstance(values, list) else [values])]
    return urlencode(sorted(pairs), quote_via=quote)


def _send(method: str, url: str, region: str, headers: dict[str, str]) -> Answer:
    from botocore.auth import S3SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    request = AWSRequest(method=method, url=url, headers={n: headers[n] for n in _PASSED if n in headers})
    request.headers["Host"] = urlsplit(url).netloc
    S3SigV4Auth(Credentials(ROOT_KEY, ROOT_KEY), "s3", region).add_auth(request)
    plain = urllib.request.Request(url, method=method, headers=dict(request.headers.items()))
    try:
        with urllib.request.urlopen(plain, timeout=_TIMEOUT_S) as answer:
            return answer.status, _kept(answer.headers), answer.read()
    except urllib.error.HTTPError as error:
        return error.code, _kept(error.headers), error.read()


def _kept(headers: Any) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items() if name.lower() not in _DROPPED}

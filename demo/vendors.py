"""Two label vendors: each signs what it delivers with its own secret and posts it to the platform's API."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any

from cli.target import Target
from contracts import naming, vendor_callback

TIMEOUT_S = 60.0


def deliver(target: Target, vendor: str, *, story: str, task: str, votes: Sequence[Mapping[str, Any]],
            tampered: bool = False) -> tuple[int, dict[str, str]]:
    """(status, answer). `tampered`: one byte of the body changes after it was signed."""
    found = target.client("secretsmanager").get_secret_value(SecretId=naming.vendor_secret(vendor))
    body = json.dumps({"story": story, "task": task, "votes": list(votes)}).encode()
    now = int(time.time())
    signature = vendor_callback.sign(found["SecretString"].encode(), vendor=vendor, timestamp=now, body=body)
    url, host = address(target)
    request = urllib.request.Request(
        url + vendor_callback.path(vendor), method="POST", data=body[:-1] + b" " if tampered else body,
        headers={"Content-Type": "application/json", "Host": host, vendor_callback.TIMESTAMP_HEADER: str(now),
                 vendor_callback.SIGNATURE_HEADER: signature})
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def address(target: Target) -> tuple[str, str]:
    """(URL, host name) of the API. Names below localhost don't resolve everywhere, so the name goes as a header."""
    apis = target.client("apigatewayv2").get_apis()["Items"]
    [endpoint] = [api["ApiEndpoint"] for api in apis if api["Name"] == naming.label_callback_api()]
    host = endpoint.split("://", 1)[1]
    return (target.endpoint_url or endpoint), host

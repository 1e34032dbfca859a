"""Signed HTTP calls to the server itself, so that a role's grants decide as they do on AWS.

A small client of our own and not boto3: it streams bodies to and from disk, costs nothing to create for each
role, and keeps model bytes out of the server's memory.
"""

from __future__ import annotations

import http.client
import json
import shutil
import urllib.parse
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

_CHUNK = 1 << 20
_TIMEOUT_S = 300.0
_TARGETS = {  # service -> (signing name, X-Amz-Target prefix, JSON version)
    "ecr": ("ecr", "AmazonEC2ContainerRegistry_V20150921", "1.1"),
    "kms": ("kms", "TrentService", "1.1"),
    "cloudwatch": ("monitoring", "GraniteServiceVersion20100801", "1.0"),
    "sagemaker": ("sagemaker", "SageMaker", "1.1"),
    "logs": ("logs", "Logs_20140328", "1.1"),
}


class AwsError(Exception):
    """An error answer of the server, with AWS's code and text."""

    def __init__(self, code: str, message: str, status: int, operation: str) -> None:
        super().__init__(f"{code} ({operation}): {message}")
        self.code, self.message, self.status, self.operation = code, message, status, operation

    @property
    def denied(self) -> bool:
        return self.status == 403 or "AccessDenied" in self.code


class _StreamedAuth(S3SigV4Auth):
    """The body is not read to be signed."""

    def payload(self, request: AWSRequest) -> str:
        return "UNSIGNED-PAYLOAD"


@dataclass(frozen=True, kw_only=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True, kw_only=True)
class Client:
    """Calls with one role's temporary credentials in one region."""

    endpoint_url: str
    region: str
    credentials: Credentials

    def call(self, service: str, operation: str, request: dict[str, Any]) -> dict[str, Any]:
        """A JSON-protocol call, for example `call("ecr", "BatchGetImage", {...})`."""
        signing, prefix, version = _TARGETS[service]
        headers = {
            "Content-Type": f"application/x-amz-json-{version}",
            "X-Amz-Target": f"{prefix}.{operation}",
        }
        answer = self.send("POST", "/", signing, headers=headers, body=json.dumps(request).encode())
        return json.loads(answer.body or b"{}")

    def invoke_lambda(self, function: str, payload: bytes) -> Answer:
        path = f"/2015-03-31/functions/{urllib.parse.quote(function, safe='')}/invocations"
        return self.send("POST", path, "lambda", headers={"Content-Type": "application/json"}, body=payload)

    def send(
        self, method: str, path: str, service: str, *, headers: dict[str, str] | None = None, body: bytes = b""
    ) -> Answer:
        connection, response = self._open(method, path, service, headers or {}, body)
        try:
            answer = Answer(
                status=response.status,
                headers={k.lower(): v for k, v in response.getheaders()},
                body=response.read(),
            )
        finally:
            connection.close()
        if answer.status >= 300:
            operation = (headers or {}).get("X-Amz-Target", f"{method} {path}").rsplit(".", 1)[-1]
            raise _error(answer, operation)
        return answer

    # -- S3 ---------------------------------------------------------------------------------------------

    def list_objects(self, bucket: str, prefix: str) -> Iterator[tuple[str, int]]:
        """Keys and sizes under a prefix."""
        token = ""
        while True:
            query = {"list-type": "2", "prefix": prefix, **({"continuation-token": token} if token else {})}
            path = f"/{bucket}?" + urllib.parse.urlencode(query, quote_via=urllib.parse.quote)
            root = ET.fromstring(self.send("GET", path, "s3").body)
            tag = root.tag.removesuffix("ListBucketResult")
            for item in root.iter(f"{tag}Contents"):
                yield item.findtext(f"{tag}Key", ""), int(item.findtext(f"{tag}Size", "0"))
            token = root.findtext(f"{tag}NextContinuationToken", "")
            if not token:
                return

    def get_bytes(self, bucket: str, key: str) -> bytes:
        """A small object, whole."""
        return self.send("GET", _object_path(bucket, key), "s3").body

    def download(self, bucket: str, key: str, to: Path) -> dict[str, str]:
        """Stream an object to a file; returns the answer's headers."""
        to.parent.mkdir(parents=True, exist_ok=True)
        part = to.with_name(to.name + ".part")
        connection, response = self._open("GET", _object_path(bucket, key), "s3", {}, b"")
        try:
            headers = {k.lower(): v for k, v in response.getheaders()}
            if response.status >= 300:
                raise _error(Answer(status=response.status, headers=headers, body=response.read()), "GetObject")
            with part.open("wb") as sink:
                shutil.copyfileobj(response, sink, _CHUNK)
        finally:
            connection.close()
        if part.stat().st_size != int(headers.get("content-length", part.stat().st_size)):
            raise AwsError("IncompleteRead", f"s3://{bucket}/{key} ended too early", 500, "GetObject")
        part.replace(to)
        return headers

    def upload(self, bucket: str, key: str, source: Path, *, kms_key: str = "") -> None:
        """Stream a file into an object."""
        headers = {"Content-Length": str(source.stat().st_size)}
        if kms_key:
            headers |= {
                "x-amz-server-side-encryption": "aws:kms",
                "x-amz-server-side-encryption-aws-kms-key-id": kms_key,
            }
        with source.open("rb") as body:
            self._put(bucket, key, headers, body)

    def put_bytes(self, bucket: str, key: str, body: bytes, *, content_type: str = "") -> None:
        headers = {"Content-Type": content_type} if content_type else {}
        self.send("PUT", _object_path(bucket, key), "s3", headers=headers, body=body)

    def _put(self, bucket: str, key: str, headers: dict[str, str], body: BinaryIO) -> None:
        connection, response = self._open("PUT", _object_path(bucket, key), "s3", headers, body)
        try:
            answer = Answer(
                status=response.status, headers=dict(response.getheaders()), body=response.read()
            )
        finally:
            connection.close()
        if answer.status >= 300:
            raise _error(answer, "PutObject")

    def _open(
        self, method: str, path: str, service: str, headers: dict[str, str], body: bytes | BinaryIO
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        signed = AWSRequest(method=method, url=self.endpoint_url + path, headers=dict(headers))
        if isinstance(body, bytes):
            signed.data = body
            signer = S3SigV4Auth if service == "s3" else SigV4Auth
        else:
            signer = _StreamedAuth
        signer(self.credentials, service, self.region).add_auth(signed)
        url = urllib.parse.urlsplit(self.endpoint_url)
        connection = http.client.HTTPConnection(url.hostname or "localhost", url.port, timeout=_TIMEOUT_S)
        try:
            connection.request(method, path, body=body, headers=dict(signed.headers.items()))
            return connection, connection.getresponse()
        except OSError:
            connection.close()
            raise


def _object_path(bucket: str, key: str) -> str:
    return f"/{bucket}/{urllib.parse.quote(key, safe='/~')}"


def _error(answer: Answer, operation: str) -> AwsError:
    """The code and text of an XML or JSON error."""
    text = answer.body.decode("utf-8", "replace")
    if text.lstrip().startswith("<"):
        root = ET.fromstring(text)
        found = {e.tag.rsplit("}", 1)[-1]: (e.text or "") for e in root.iter()}
        return AwsError(found.get("Code", "Unknown"), found.get("Message", text), answer.status, operation)
    try:
        parsed = json.loads(text or "{}")
    except ValueError:
        parsed = {}
    code = str(parsed.get("__type") or parsed.get("code") or answer.status).rsplit("#", 1)[-1]
    message = parsed.get("message") or parsed.get("Message") or text
    return AwsError(code, str(message), answer.status, operation)


def split_s3_uri(uri: str) -> tuple[str, str]:
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    if not uri.startswith("s3://") or not bucket:
        raise ValueError(f"an S3 URI must look like s3://bucket/key, got {uri!r}")
    return bucket, key

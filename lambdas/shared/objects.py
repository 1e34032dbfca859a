"""S3 by URI: small reads and listings."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from lambdas.shared.aws import client_error, error_code
from lambdas.shared.errors import EvidenceMissing, InvalidInput

_ABSENT = ("NoSuchKey", "404", "NoSuchBucket")


@dataclass(frozen=True)
class S3Uri:
    bucket: str
    key: str

    @classmethod
    def parse(cls, uri: object) -> S3Uri:
        if not isinstance(uri, str) or not uri.startswith("s3://") or "/" not in uri[5:]:
            raise InvalidInput(f"an S3 address looks like s3://bucket/key, got {uri!r}")
        bucket, key = uri[5:].split("/", 1)
        return cls(bucket, key)

    def child(self, name: str) -> S3Uri:
        return S3Uri(self.bucket, self.key.rstrip("/") + "/" + name)

    def parent(self) -> S3Uri:
        return S3Uri(self.bucket, self.key.rsplit("/", 1)[0] + "/" if "/" in self.key else "")

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}"


def within(uri: object, bucket: str, prefix: str) -> S3Uri:
    """The parsed URI if it lies in `bucket` below `prefix`."""
    parsed = S3Uri.parse(uri)
    if parsed.bucket != bucket or not parsed.key.startswith(prefix) or ".." in parsed.key.split("/"):
        raise InvalidInput(f"{uri} must lie below s3://{bucket}/{prefix}")
    return parsed


def get_object(s3: Any, uri: S3Uri) -> dict[str, Any]:
    """GetObject's answer; EvidenceMissing when the object is not there."""
    try:
        return s3.get_object(Bucket=uri.bucket, Key=uri.key)
    except client_error() as error:
        if error_code(error) in _ABSENT:
            raise EvidenceMissing(f"{uri} does not exist") from None
        raise


def read_bytes(s3: Any, uri: S3Uri) -> bytes:
    return bytes(get_object(s3, uri)["Body"].read())


def parse_json_object(data: bytes, uri: S3Uri) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except ValueError:  # JSONDecodeError and UnicodeDecodeError
        raise EvidenceMissing(f"{uri} is not valid JSON") from None
    if not isinstance(value, dict):
        raise EvidenceMissing(f"{uri} must hold one JSON object")
    return value


def read_json(s3: Any, uri: S3Uri) -> dict[str, Any]:
    return parse_json_object(read_bytes(s3, uri), uri)


def list_objects(s3: Any, prefix: S3Uri) -> Iterator[dict[str, Any]]:
    """Every object below a prefix, without the folder markers that consoles make."""
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=prefix.bucket, Prefix=prefix.key)
    for page in pages:
        yield from (entry for entry in page.get("Contents", ()) if not entry["Key"].endswith("/"))

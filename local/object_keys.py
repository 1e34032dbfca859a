"""What S3 asks of a caller for an object that is encrypted under a KMS key: the key's grants, as on AWS.

ministack keeps which key an object has and asks nobody. AWS asks for kms:Decrypt to read, for kms:GenerateDataKey
to write, and for both to write in parts, of the caller itself, with kms:ViaService naming S3.
https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingKMSEncryption.html
"""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

_SSE, _KEY = "x-amz-server-side-encryption", "x-amz-server-side-encryption-aws-kms-key-id"
READ, WRITE = "kms:Decrypt", "kms:GenerateDataKey"

Answer = tuple[int, dict[str, str], bytes]


def refusal(
    method: str, action: str, resource: str, headers: dict[str, str], query: dict[str, Any], request_id: str
) -> Answer | None:
    """AccessDenied when the caller lacks a grant on the object's key; None when all is well."""
    if not resource.startswith("arn:aws:s3:::"):
        return None
    bucket, _, key = resource.removeprefix("arn:aws:s3:::").partition("/")
    for kms_action, key_id in _asked(method, action, bucket, key, headers, query):
        refused = denied(kms_action, key_id, headers, query, request_id)
        if refused is not None:
            return refused
    return None


def _asked(
    method: str, action: str, bucket: str, key: str, headers: dict[str, str], query: dict[str, Any]
) -> list[tuple[str, str]]:
    """(KMS action, key) pairs; empty for what is not encrypted under a key."""
    if action == "s3:GetObject" and method == "GET":
        return _pairs((READ,), _key_of_object(bucket, key))
    if action != "s3:PutObject":
        return []
    in_parts = "uploads" in query or "uploadId" in query
    found = _pairs((WRITE, READ) if in_parts else (WRITE,), _key_for_writing(bucket, headers))
    source = unquote(headers.get("x-amz-copy-source", "")).lstrip("/").partition("?")[0]
    if source:
        from_bucket, _, from_key = source.partition("/")
        found += _pairs((READ,), _key_of_object(from_bucket, from_key))
    return found


def _pairs(actions: tuple[str, ...], key_id: str) -> list[tuple[str, str]]:
    return [(action, key_id) for action in actions] if key_id else []


def _key_for_writing(bucket: str, headers: dict[str, str]) -> str:
    """The key that the request names, or the bucket's own."""
    from ministack.services import s3

    asked = {_SSE: headers.get(_SSE, ""), _KEY: headers.get(_KEY, "")}
    return _kms_key(asked if asked[_SSE] else s3._bucket_default_sse_headers(bucket))


def _key_of_object(bucket: str, key: str) -> str:
    from ministack.services import s3

    found = (s3._ensure_bucket(bucket) or {}).get("objects", {}).get(key)
    return _kms_key(s3._stored_sse_headers(found)) if found else ""


def _kms_key(headers: dict[str, str]) -> str:
    return headers.get(_KEY, "") if headers.get(_SSE, "").startswith("aws:kms") else ""


def denied(
    action: str, key_id: str, headers: dict[str, str], query: dict[str, Any], request_id: str
) -> Answer | None:
    """AccessDenied when the caller may not use the key through S3 of the region that the request is signed for."""
    from ministack.core.iam_actions import access_denied_response, identity_denial_message
    from ministack.core.iam_evaluator import EvalResult, enforce
    from ministack.core.router import extract_access_key_id, extract_region
    from ministack.services import kms

    key = kms._resolve_key(key_id)
    arn = str(key["Arn"]) if key else key_id  # a key that is gone is granted to nobody but by a wildcard
    region = extract_region(headers)
    found = enforce(extract_access_key_id(headers, query) or "", action, "kms", region, resource_arn=arn,
                    service_context={"kms:ViaService": f"s3.{region}.amazonaws.com"})
    if not isinstance(found, EvalResult):
        return None  # allowed; or credentials that fail, which S3 answers for itself
    explicit = found.decision == "Deny"
    refused: Answer = access_denied_response(
        "s3", action, found.principal_arn, request_id, headers=headers, explicit_deny=explicit,
        message=identity_denial_message(action, found.principal_arn, arn, explicit))
    return refused

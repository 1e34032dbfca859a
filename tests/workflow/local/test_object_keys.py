"""S3 objects under a KMS key: the caller needs the key's grants, too."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.support.embedded import ACCOUNT, EmbeddedAws, unique

pytestmark = pytest.mark.surface("S3 objects encrypted under KMS keys")
OBJECTS = ("s3:*", "*")


@dataclass(frozen=True, kw_only=True)
class Encrypted:
    """A bucket with a key of its own; `plain` has none."""

    bucket: str
    plain: str
    key: str


@pytest.fixture
def encrypted(aws: EmbeddedAws) -> Encrypted:
    s3, bucket, plain = aws.client("s3"), unique("encrypted"), unique("plain")
    key = aws.client("kms").create_key()["KeyMetadata"]["Arn"]
    for name in (bucket, plain):
        s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": aws.region})
    s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": [{
        "ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key}}]})
    s3.put_object(Bucket=bucket, Key="a folder/本.txt", Body=b"words")
    s3.put_object(Bucket=plain, Key="a.txt", Body=b"words")
    return Encrypted(bucket=bucket, plain=plain, key=key)


def s3_of(aws: EmbeddedAws, *grants: tuple[str, str]) -> Any:
    return aws.as_role("s3", aws.role("lambda.amazonaws.com", OBJECTS, *grants))


def test_reading_needs_decrypt_and_the_error_names_the_key(aws: EmbeddedAws, encrypted: Encrypted) -> None:
    where = {"Bucket": encrypted.bucket, "Key": "a folder/本.txt"}
    with pytest.raises(ClientError, match=rf"AccessDenied.*kms:Decrypt on resource: {encrypted.key}"):
        s3_of(aws).get_object(**where)
    assert s3_of(aws, ("kms:Decrypt", encrypted.key)).get_object(**where)["Body"].read() == b"words"
    assert aws.client("s3").get_object(**where)["Body"].read() == b"words", "the deployer is never refused"


def test_writing_needs_a_data_key_and_writing_in_parts_both(aws: EmbeddedAws, encrypted: Encrypted) -> None:
    where = {"Bucket": encrypted.bucket, "Key": "new.txt"}
    with pytest.raises(ClientError, match="kms:GenerateDataKey"):
        s3_of(aws, ("kms:Decrypt", encrypted.key)).put_object(**where, Body=b"x")
    writer = s3_of(aws, ("kms:GenerateDataKey", encrypted.key))
    writer.put_object(**where, Body=b"x")
    with pytest.raises(ClientError, match="kms:Decrypt"):
        writer.create_multipart_upload(**where)


def test_a_copy_reads_under_one_key_and_writes_under_the_other(aws: EmbeddedAws, encrypted: Encrypted) -> None:
    source = {"Bucket": encrypted.bucket, "Key": "a folder/本.txt"}
    with pytest.raises(ClientError, match="kms:Decrypt"):
        s3_of(aws).copy_object(Bucket=encrypted.plain, Key="copy.txt", CopySource=source)
    s3_of(aws, ("kms:Decrypt", encrypted.key)).copy_object(Bucket=encrypted.plain, Key="copy.txt", CopySource=source)
    with pytest.raises(ClientError, match="kms:GenerateDataKey"):
        s3_of(aws).copy_object(Bucket=encrypted.bucket, Key="back.txt",
                               CopySource={"Bucket": encrypted.plain, "Key": "a.txt"})


def test_a_request_that_names_a_key_needs_that_key(aws: EmbeddedAws, encrypted: Encrypted) -> None:
    named = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": encrypted.key}
    with pytest.raises(ClientError, match="kms:GenerateDataKey"):
        s3_of(aws).put_object(Bucket=encrypted.plain, Key="b.txt", Body=b"x", **named)
    s3_of(aws).put_object(Bucket=encrypted.plain, Key="b.txt", Body=b"x")


def test_a_key_policy_may_let_s3_alone_use_the_key(aws: EmbeddedAws, encrypted: Encrypted) -> None:
    """kms:ViaService is what tells a call through S3 from one to KMS."""
    role = aws.role("lambda.amazonaws.com", OBJECTS, ("kms:Decrypt", encrypted.key))
    statement = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, "Action": "kms:*",
                 "Resource": "*"}

    def allow_via(service: str) -> None:
        condition = {"StringEquals": {"kms:ViaService": f"{service}.{aws.region}.amazonaws.com"}}
        aws.client("kms").put_key_policy(KeyId=encrypted.key, PolicyName="default", Policy=json.dumps(
            {"Version": "2012-10-17", "Statement": [{**statement, "Condition": condition}]}))

    where = {"Bucket": encrypted.bucket, "Key": "a folder/本.txt"}
    allow_via("sqs")
    with pytest.raises(ClientError, match="kms:Decrypt"):
        aws.as_role("s3", role).get_object(**where)
    allow_via("s3")
    assert aws.as_role("s3", role).get_object(**where)["Body"].read() == b"words"

"""Two embedded AWS, one a region: S3 is read across, by the caller's own grants, and nothing else crosses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.support.embedded import EmbeddedAws, embedded_aws, unique

pytestmark = pytest.mark.surface("S3 of another region, read from a peer")


@pytest.fixture
def other(aws: EmbeddedAws, tmp_path: Path) -> Iterator[EmbeddedAws]:
    with embedded_aws(tmp_path, region="us-east-1", peers={aws.region: aws.endpoint_url}) as found:
        yield found


def s3_of(other: EmbeddedAws, region: str, *grants: tuple[str, str]) -> Any:
    """S3 of a region as a role of `other` asks for it."""
    role = other.role("lambda.amazonaws.com", *grants)
    given = other.client("sts").assume_role(RoleArn=role, RoleSessionName="test")["Credentials"]
    return other.client("s3", region, aws_access_key_id=given["AccessKeyId"],
                        aws_secret_access_key=given["SecretAccessKey"], aws_session_token=given["SessionToken"])


def refused(call: Any, **request: Any) -> str:
    with pytest.raises(ClientError) as raised:
        call(**request)
    return str(raised.value.response["Error"]["Code"])


def test_a_role_reads_from_the_peer_what_it_and_the_objects_key_allow_and_nothing_else(
        aws: EmbeddedAws, other: EmbeddedAws) -> None:
    bucket, home = unique("home"), aws.client("s3")
    home.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": aws.region})
    key = aws.client("kms").create_key()["KeyMetadata"]["Arn"]
    for name in ("models/a b", "runs/a"):
        home.put_object(Bucket=bucket, Key=name, Body=b"weights", ServerSideEncryption="aws:kms", SSEKMSKeyId=key)
    models = ("s3:GetObject", f"arn:aws:s3:::{bucket}/models/*")
    reader = s3_of(other, aws.region, models, ("kms:Decrypt", key), ("s3:ListBucket", f"arn:aws:s3:::{bucket}"))
    assert reader.get_object(Bucket=bucket, Key="models/a b")["Body"].read() == b"weights"
    assert [e["Key"] for e in reader.list_objects_v2(Bucket=bucket, Prefix="models/")["Contents"]] == ["models/a b"]
    assert refused(reader.get_object, Bucket=bucket, Key="models/none") == "NoSuchKey"
    assert refused(reader.get_object, Bucket=bucket, Key="runs/a") == "AccessDenied"
    keyless = s3_of(other, aws.region, models)
    assert refused(keyless.get_object, Bucket=bucket, Key="models/a b") == "AccessDenied"
    writer = other.client("s3", aws.region)
    assert refused(writer.put_object, Bucket=bucket, Key="models/x", Body=b"") == "NotImplemented"
    assert refused(other.client("s3").get_object, Bucket=bucket, Key="models/a b") == "NoSuchBucket"

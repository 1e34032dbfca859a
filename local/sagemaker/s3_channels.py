"""Files between S3 and a container: input channels, outputs, checkpoints and model artifacts."""

from __future__ import annotations

import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from local.sagemaker.aws_http import AwsError, Client, split_s3_uri
from local.sagemaker.errors import JobFailure

_PARALLEL = 4


def download_prefix(client: Client, uri: str, to: Path, *, role: str, what: str) -> int:
    """Every object under the prefix, as files below `to`. No object at all is a failure, as on AWS."""
    bucket, prefix = _split(uri, what)
    try:
        keys = [key for key, _ in client.list_objects(bucket, prefix) if not key.endswith("/")]
        if not keys:
            raise JobFailure(
                f'ClientError: Data download failed:No S3 objects found under S3 URL "{uri}" given in {what}. Please '
                f"ensure that the bucket exists, that objects exist under that S3 prefix, and that the role "
                f'"{role}" has "s3:ListBucket" permissions on bucket "{bucket}".'
            )
        with ThreadPoolExecutor(_PARALLEL) as pool:
            list(pool.map(lambda key: client.download(bucket, key, to / _relative(key, prefix)), keys))
    except AwsError as error:
        raise JobFailure(f"ClientError: Data download failed:{error} ({what}: {uri}, role {role})") from error
    return len(keys)


def download_file(client: Client, uri: str, to: Path, *, what: str) -> None:
    bucket, key = _split(uri, what)
    try:
        client.download(bucket, key, to)
    except AwsError as error:
        raise JobFailure(f"ClientError: Data download failed:{error} ({what}: {uri})") from error


def upload_tree(client: Client, folder: Path, uri: str, *, kms_key: str = "") -> int:
    """Every file below the folder, under the prefix."""
    files = [p for p in sorted(folder.rglob("*")) if p.is_file()]
    bucket, prefix = _split(uri, "output")
    try:
        for path in files:
            key = "/".join(p for p in (prefix.strip("/"), path.relative_to(folder).as_posix()) if p)
            client.upload(bucket, key, path, kms_key=kms_key)
    except AwsError as error:
        raise JobFailure(f"ClientError: Artifact upload failed:{error} (to {uri})") from error
    return len(files)


def upload_tar(client: Client, folder: Path, uri: str, work: Path, *, kms_key: str = "") -> None:
    """The folder's content as one tar.gz. Level 1: model weights hardly compress and time counts."""
    archive = work / "upload.tar.gz"
    with tarfile.open(archive, "w:gz", compresslevel=1) as tar:
        for path in sorted(folder.iterdir()):
            tar.add(path, arcname=path.name)
    bucket, key = _split(uri, "output")
    try:
        client.upload(bucket, key, archive, kms_key=kms_key)
    except AwsError as error:
        raise JobFailure(f"ClientError: Artifact upload failed:{error} (to {uri})") from error
    finally:
        archive.unlink()


def unpack(archive: Path, to: Path) -> None:
    """A model.tar.gz; members that leave the folder are refused."""
    try:
        with tarfile.open(archive) as tar:
            tar.extractall(to, filter="data")
    except (tarfile.TarError, EOFError) as error:
        raise JobFailure(f"ClientError: model data {archive.name} is not a readable tar.gz: {error}") from error
    archive.unlink()


def _split(uri: str, what: str) -> tuple[str, str]:
    try:
        return split_s3_uri(uri)
    except ValueError as error:
        raise JobFailure(f"ClientError: {what}: {error}") from error


def _relative(key: str, prefix: str) -> str:
    """S3Prefix matches text, not folders: the part after the last slash of the prefix names the file."""
    if key.startswith(prefix.rstrip("/") + "/"):
        return key[len(prefix.rstrip("/")) :].lstrip("/") if prefix else key
    return key[prefix.rfind("/") + 1 :]

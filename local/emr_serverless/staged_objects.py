"""s3:// names of a job and the files that stand for them.

Spark's own way to S3 is a file system of EMR's, which is not here. An argument that is an S3 name becomes a path: what
lies under it is fetched with the job role's grants before the job, and what the job made, changed or removed there is
put back with the same grants after it. Names that a program makes up by itself are not seen.
"""

from __future__ import annotations

import urllib.parse
from pathlib import Path

from local.sagemaker.aws_http import AwsError, Client, split_s3_uri
from local.sagemaker.errors import JobFailure

_SCHEMES = ("s3://", "s3a://")
_CHECKSUMS = (".crc",)  # of Hadoop's local file system; S3 has none


class StagedObjects:
    """The S3 names of one job run, below one folder."""

    def __init__(self, client: Client, folder: Path) -> None:
        self._client, self._folder = client, folder
        self._places: dict[str, Path] = {}
        self._fetched: dict[Path, tuple[int, int]] = {}  # file -> what tells that it was written

    def path(self, text: str) -> str:
        """The local path for an S3 name; any other text as it is. The same name twice is the same path."""
        if not text.startswith(_SCHEMES):
            return text
        if text not in self._places:
            self._places[text] = self._fetch(text, self._folder / str(len(self._places)))
        return str(self._places[text])

    def _fetch(self, uri: str, folder: Path) -> Path:
        bucket, name = _split(uri)
        base = name.rstrip("/")
        place = folder / (base.rpartition("/")[2] or bucket)
        folder.mkdir(parents=True)
        try:
            for key, _ in self._client.list_objects(bucket, base):
                if key == base:
                    self._client.download(bucket, key, place)
                elif key.startswith(f"{base}/" if base else "") and not key.endswith("/"):
                    self._client.download(bucket, key, place / key[len(base):].lstrip("/"))
        except AwsError as error:
            raise JobFailure(f"{error} while reading {uri}") from error
        self._fetched |= {path: _stamp(path) for path in _files(place)}
        return place

    def fetch_file(self, uri: str, to: Path) -> Path:
        """One object that must be there: the entry point, or what comes with it. Its listing is nobody's grant."""
        bucket, key = _split(uri)
        try:
            self._client.download(bucket, key, to / key.rpartition("/")[2])
        except AwsError as error:
            raise JobFailure(f"{error} while reading {uri}") from error
        return to / key.rpartition("/")[2]

    def put_back(self) -> None:
        """What was removed goes first, as a job that overwrites a folder empties it first."""
        for uri, place in self._places.items():
            bucket, name = _split(uri)
            base, now = name.rstrip("/"), set(_files(place))
            gone = [path for path in self._fetched if path.is_relative_to(place) and path not in now]
            try:
                for path in gone:
                    self._client.send("DELETE", f"/{bucket}/{urllib.parse.quote(_key(base, place, path), safe='/~')}",
                                      "s3")
                for path in sorted(now):
                    if self._fetched.get(path) != _stamp(path):
                        self._client.upload(bucket, _key(base, place, path), path)
            except AwsError as error:
                raise JobFailure(f"{error} while writing {uri}") from error


def _key(base: str, place: Path, path: Path) -> str:
    inside = path.relative_to(place).as_posix()
    return base if inside == "." else f"{base}/{inside}".lstrip("/")


def _files(place: Path) -> list[Path]:
    found = [place] if place.is_file() else [path for path in place.rglob("*") if path.is_file()]
    return [path for path in found if path.suffix not in _CHECKSUMS]


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_mtime_ns, status.st_ino


def _split(uri: str) -> tuple[str, str]:
    try:
        return split_s3_uri("s3://" + uri.partition("://")[2])
    except ValueError as error:
        raise JobFailure(str(error)) from error

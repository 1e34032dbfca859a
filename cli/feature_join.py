"""`features join`: labels and feature rows that one machine can't hold, joined on Spark inside the account.

What the join means follows from the story's feature group; nobody can ask for another one. Folders are named below
joins/STORY/ of the lake, the only place that the job may read and write.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cli.errors import CliError
from cli.executions import Finished, new_name, start_once, wait
from cli.target import Target
from contracts import naming
from contracts.datasets import LABEL_TIME
from contracts.deployments import HOME
from contracts.features import FeatureGroupContract
from contracts.story import StoryContract

JOINED = "Joined"  # the good end of the feature-join machine
TIMEOUT_S = 3 * 3_600.0  # the job is stopped after two hours
_FOLDER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_PARQUET = "*.parquet"


@dataclass(frozen=True, kw_only=True)
class Joined:
    uri: str
    execution: Finished


def join(
    target: Target,
    story: StoryContract,
    group: FeatureGroupContract,
    *,
    labels: str,
    features: str,
    output: str,
    run_id: str | None = None,
    on_state: Callable[[str], None] = lambda state: None,
) -> Joined:
    """Start the join and wait. `labels` and `features`: a Parquet file or folder here, which is put into the lake
    first, or the name of a folder that is there. The same `run_id` again is the same join."""
    if not target.deployment.home:
        raise CliError(f"{target.deployment.name} trains nothing, so it joins nothing: use --deployment {HOME.name}")
    folder = check_folder("--output", output)
    if folder in (labels, features):
        raise CliError(f"--output {output!r} is also what the join reads; name a folder of its own")
    body = {
        "story": story.slug, "output": folder, "definition": definition(group),
        "labels": put_or_find(target, story.slug, "--labels", labels),
        "features": put_or_find(target, story.slug, "--features", features),
    }
    arn = start_once(target, naming.feature_join_state_machine(), body, name=run_id or new_name("join"))
    return Joined(uri=f"s3://{target.bucket(naming.LAKE)}/{naming.join_prefix(story.slug, folder)}",
                  execution=wait(target, arn, timeout_s=TIMEOUT_S, on_state=on_state))


def definition(group: FeatureGroupContract) -> str:
    return group.point_in_time_json(label_time=LABEL_TIME)


def check_folder(option: str, name: str) -> str:
    if not _FOLDER.fullmatch(name):
        raise CliError(f"{option} must be the name of one folder, up to 100 letters, digits, '.', '_' and '-', got "
                       f"{name!r}")
    return name


def put_or_find(target: Target, slug: str, option: str, place: str) -> str:
    """The name of the folder in the lake that holds the rows."""
    here = Path(place)
    if here.exists():
        return _put(target, slug, option, here)
    folder = check_folder(option, place)
    prefix = naming.join_prefix(slug, folder)
    bucket = target.bucket(naming.LAKE)
    if not target.client("s3").list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=1).get("KeyCount"):
        raise CliError(f"{option} {place!r} is neither a Parquet file or folder here nor a folder of the lake: there "
                       f"is nothing below s3://{bucket}/{prefix}")
    return folder


def _put(target: Target, slug: str, option: str, here: Path) -> str:
    """Named by content, so the same rows are put once, and no other folder's files lie between them."""
    files = [here] if here.is_file() else sorted(here.glob(_PARQUET))
    if not files or any(path.suffix != ".parquet" for path in files):
        raise CliError(f"{option} {here}: needs a .parquet file, or a folder with some")
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as body:
            digest.update(f"{path.name}\0{hashlib.file_digest(body, 'sha256').hexdigest()}\0".encode())
    folder = digest.hexdigest()[:16]
    for path in files:
        target.client("s3").upload_file(str(path), target.bucket(naming.LAKE),
                                        naming.join_prefix(slug, folder) + path.name)
    return folder

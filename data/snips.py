"""SNIPS intents as a label file: 693 real English utterances, 7 intents, taxonomy `snips-v1`.

    python -m data.snips OUT.jsonl

From the task `intent_recognition` of BIG-bench (Srivastava et al. 2022, arXiv:2206.04615), which
took them from the SNIPS voice platform (Coucke et al. 2018, arXiv:1805.10190). The source has
no cohorts, no day parts and one label an utterance, so these fields are absent.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import tarfile
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path

from contracts.datasets import SCHEMA_VERSION
from contracts.taxonomies import SNIPS_V1
from data.lines import write_lines
from data.packages import BIGBENCH, PackageError, cache_dir, derive, sha256_of

MEMBER = "bigbench-1.0.0/bigbench/benchmark_tasks/intent_recognition/task.json"
TASK_SHA256 = "04ca74852de19abfc64c807b096f0094bacbb82131c793d8c413cad3dfdeb5ae"
DIRECTORY = "snips-v1"
_PREFIX = "Utterance: "


def label_file(cache: Path | None = None) -> Path:
    """The label file in the cache; the first call fetches the archive and keeps one task of it."""
    return derive(BIGBENCH, cache_dir(cache) / DIRECTORY, convert, cache=cache) / "labels.jsonl"


def convert(archive: Path, out: Path) -> None:
    """Take the task out of the archive and write its label file into the folder `out`."""
    task = out / "task.json"
    with tarfile.open(archive, "r|gz") as tar:  # a stream: the archive is read up to the task, not to its end
        for member in tar:
            if member.name == MEMBER:
                source = tar.extractfile(member)
                assert source is not None  # a regular file by its pinned archive
                with task.open("wb") as file:
                    shutil.copyfileobj(source, file)
                break
        else:
            raise PackageError(f"{archive.name} holds no {MEMBER}")
    if sha256_of(task) != TASK_SHA256:
        raise PackageError(f"{MEMBER}: SHA-256 is not the pinned {TASK_SHA256}")
    write_lines(rows(json.loads(task.read_text("utf-8"))), out / "labels.jsonl")


def rows(task: dict[str, list[dict[str, object]]]) -> Iterator[dict[str, object]]:
    """Label rows of a BIG-bench multiple-choice task; a text that comes twice is taken once.

    Raises
    ------
    PackageError
        One text has two labels, or a label is not in the taxonomy.
    """
    seen: dict[str, str] = {}
    for example in task["examples"]:
        text = str(example["input"]).removeprefix(_PREFIX).strip()
        scores = example["target_scores"]
        assert isinstance(scores, dict)
        label = max(scores, key=lambda name: float(scores[name]))
        if label not in SNIPS_V1.labels:
            raise PackageError(f"unknown label {label!r}; allowed: {', '.join(SNIPS_V1.labels)}")
        id_ = text_id(text)
        if id_ in seen:
            if seen[id_] != label:
                raise PackageError(f"one utterance has two labels, {seen[id_]} and {label}: {text!r}")
            continue
        seen[id_] = label
        yield {"id": id_, "text": text, "label": label, "language": "en", "taxonomy": SNIPS_V1.name,
               "schema_version": SCHEMA_VERSION, "source": "programmatic", "kind": SNIPS_V1.kind}


def text_id(text: str) -> str:
    """A stable id: the hash of the text as it reads, so case, width and spacing make no second row."""
    normalised = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    return "snips-" + hashlib.sha256(normalised.encode()).hexdigest()[:16]


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m data.snips", description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="label file to write")
    args = parser.parse_args(argv)
    lines = label_file().read_text("utf-8").splitlines()
    write_lines((json.loads(line) for line in lines), args.out)
    print(f"{args.out}: {len(lines)} rows")


if __name__ == "__main__":
    main()

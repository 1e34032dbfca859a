"""SNIPS rows from a BIG-bench task, and data sets by name or path."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest

from contracts.datasets import LabelFileError, validate_lines
from contracts.taxonomies import MANGA14_V1, SNIPS_V1
from data import catalog, snips
from data.packages import PackageError, sha256_of


def _task(*examples: tuple[str, str]) -> dict[str, list[dict[str, object]]]:
    def scores(label: str) -> dict[str, int]:
        return {name: int(name == label) for name in (*SNIPS_V1.labels, label)}

    return {"examples": [{"input": f"Utterance: {text}", "target_scores": scores(label)} for text, label in examples]}


def test_an_utterance_becomes_a_row_that_the_contract_accepts() -> None:
    rows = list(snips.rows(_task(("Play Queen. ", "play_music"), ("Is it raining?", "get_weather"))))
    checked = validate_lines([json.dumps(r).encode() for r in rows], file="snips")
    assert checked.problems == ()
    assert checked.taxonomy is SNIPS_V1
    assert [(r.text, r.label, r.language, r.cohort, r.daypart) for r in checked.rows] == [
        ("Play Queen.", "play_music", "en", None, None), ("Is it raining?", "get_weather", "en", None, None)]


def test_a_text_that_comes_twice_is_taken_once_and_its_id_hangs_on_the_words_alone() -> None:
    once = list(snips.rows(_task(("Play Queen", "play_music"))))
    twice = list(snips.rows(_task(("Is it raining?", "get_weather"), ("play  QUEEN", "play_music"),
                                  ("Play Queen", "play_music"))))
    assert len(twice) == 2
    assert twice[1]["id"] == once[0]["id"]


def test_one_text_with_two_labels_is_an_error() -> None:
    with pytest.raises(PackageError, match="two labels, play_music and rate_book"):
        list(snips.rows(_task(("Play Queen", "play_music"), ("play queen", "rate_book"))))


def test_a_label_outside_the_taxonomy_is_an_error_that_names_the_allowed_ones() -> None:
    with pytest.raises(PackageError, match="unknown label 'order_pizza'; allowed: add_to_playlist"):
        list(snips.rows(_task(("Two margheritas", "order_pizza"))))


def _archive(folder: Path, name: str, content: bytes) -> Path:
    path = folder / "bigbench.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return path


def test_only_the_task_is_kept_of_the_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = json.dumps(_task(("Play Queen", "play_music"))).encode()
    (tmp_path / "task.json").write_bytes(content)
    monkeypatch.setattr(snips, "TASK_SHA256", sha256_of(tmp_path / "task.json"))
    (tmp_path / "out").mkdir()
    snips.convert(_archive(tmp_path, snips.MEMBER, content), tmp_path / "out")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["labels.jsonl", "task.json"]


def test_a_changed_task_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(PackageError, match="SHA-256 is not the pinned 04ca"):
        snips.convert(_archive(tmp_path, snips.MEMBER, b"{}"), tmp_path / "out")


def test_an_archive_without_the_task_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(PackageError, match=r"holds no bigbench-1\.0\.0/"):
        snips.convert(_archive(tmp_path, "bigbench-1.0.0/README.md", b"hello"), tmp_path / "out")


def test_manga14_is_made_in_the_cache_and_says_that_it_is_made(tmp_path: Path) -> None:
    info = catalog.load("manga14", cache=tmp_path)
    assert (info.kind, info.taxonomy) == ("made", MANGA14_V1.name)
    assert info.path.is_relative_to(tmp_path)
    first = info.path.read_bytes()
    assert catalog.load("manga14", cache=tmp_path).path.read_bytes() == first


def test_ones_own_file_is_taken_where_it_lies(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_text("".join(json.dumps({"id": f"{label}{i}", "text": f"text {i}", "label": label}) + "\n"
                            for label in ("yes", "no") for i in range(20)))
    info = catalog.load(path)
    assert (info.name, info.path, info.kind) == ("mine", path, "own")
    assert info.taxonomy.startswith("derived-")


def test_a_label_set_declared_beside_ones_own_file_is_used(tmp_path: Path) -> None:
    (tmp_path / "mine.jsonl").write_text(json.dumps({"id": "1", "text": "hello", "label": "yes"}) + "\n")
    (tmp_path / "mine.taxonomy.json").write_text(
        json.dumps({"name": "yesno-v1", "labels": ["yes", "no"], "languages": ["en"]}))
    assert catalog.load(str(tmp_path / "mine.jsonl")).taxonomy == "yesno-v1"


def test_neither_a_name_nor_a_file_is_an_error_that_names_the_choices() -> None:
    with pytest.raises(FileNotFoundError, match="no data set 'mangga14'; allowed: snips, manga14, or the path"):
        catalog.load("mangga14")


def test_an_empty_own_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").write_text("")
    with pytest.raises(LabelFileError, match=r"empty\.jsonl: the file is empty"):
        catalog.load(tmp_path / "empty.jsonl")

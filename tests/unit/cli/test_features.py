"""A file of feature records is checked against the declaration before anything is put."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.errors import CliError
from cli.features import read_records
from contracts.stories.intent_classifier import INTENT_CLASSIFIER
from data import customers

GROUP = INTENT_CLASSIFIER.cohort_group
GOOD = '{"customer_id": "ann", "event_time": "2026-04-01T00:00:00Z", "interactions": 7}\n'


def test_made_histories_fit_the_declaration(tmp_path: Path) -> None:
    from data.lines import write_lines

    made = customers.attach([{"id": str(n)} for n in range(60)]).history
    write_lines(made, tmp_path / "history.jsonl")
    assert read_records(tmp_path / "history.jsonl", GROUP) == list(made)
    assert len(made) == 8


@pytest.mark.parametrize(("line", "words"), [
    ("{", "row 2: invalid JSON"),
    ("[]", "row 2: unknown .*not an object"),
    ('{"customer_id": "ann", "event_time": "x", "clicks": 3}',
     r"row 2: unknown \['clicks'\], missing \[\]; features of customer-cohort are customer_id"),
    ('{"interactions": 3}', r"row 2: unknown \[\], missing \['customer_id', 'event_time'\]"),
])
def test_a_record_that_does_not_fit_is_named_by_row_and_feature(tmp_path: Path, line: str, words: str) -> None:
    path = tmp_path / "history.jsonl"
    path.write_text(GOOD + line + "\n")
    with pytest.raises(CliError, match=words):
        read_records(path, GROUP)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CliError, match=r"nothing\.jsonl: there is no such file"):
        read_records(tmp_path / "nothing.jsonl", GROUP)

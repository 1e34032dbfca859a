"""Four sources, one batch: each row is accepted or quarantined with a reason, whatever order things came in."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from contracts.datasets import validate_lines
from contracts.taxonomies import SNIPS_V1
from model_code.platform.reconciliation import Vote
from model_code.platform.sources.batch import LabelBatch, Proposed, Settled, settle, write_label_file
from model_code.platform.sources.distilled import Distilled, distilled_batch, wilson_low
from model_code.platform.sources.implicit import Feedback, implicit_batch
from model_code.platform.sources.programmatic import Text, programmatic_batch
from model_code.platform.sources.vendor import vendor_batch

WEATHER, MUSIC = "get_weather", "play_music"
BY = {"who": "test", "why": "a test"}


def settled(batch: LabelBatch) -> Settled:
    return settle(batch, taxonomy=SNIPS_V1, min_kappa=0.75)


def said(item: str, vendor: str, label: str, annotator: str = "1") -> Vote:
    return Vote(item=item, vendor=vendor, annotator=annotator, label=label, language="en")


def test_vendor_votes_become_rows_with_their_annotators() -> None:
    votes = [said("a", "north", WEATHER), said("a", "south", WEATHER), said("b", "north", WEATHER),
             said("b", "south", MUSIC), said("gone", "north", MUSIC)]
    found = settled(vendor_batch(votes, {"a": "rain?", "b": "a song"}, **BY))
    [row] = found.accepted
    assert (row.id, row.label, row.annotator_labels, row.source) == ("a", WEATHER, (WEATHER, WEATHER), "vendor")
    assert found.reasons() == {"unknown_item": 1, "unresolved": 1}


def test_a_language_in_which_annotators_disagree_is_quarantined_as_a_whole() -> None:
    rng = random.Random(3)
    votes = [Vote(item=f"{language}{n:03}", vendor=vendor, annotator="1", language=language,
                  label=rng.choice((WEATHER, MUSIC)) if language == "ja" else (WEATHER, MUSIC)[n % 2])
             for language in ("en", "ja") for n in range(60) for vendor in ("north", "south", "west")]
    texts = {v.item: f"text {v.item}" for v in votes}
    found = settled(vendor_batch(votes, texts, **BY))
    assert {row.language for row in found.accepted} == {"en"}
    assert found.reasons() == {"low_agreement": 60}
    assert found.agreement["en"].kappa == 1.0
    assert found.agreement["ja"].kappa < 0.3


def test_what_the_schema_refuses_is_quarantined_with_its_reason() -> None:
    rows = (Proposed(id="a", text="rain?", label=WEATHER, language="en"),
            Proposed(id="b", text=" ", label=WEATHER, language="en"),
            Proposed(id="c", text="secret words", label="nonsense", language="en"))
    found = settled(LabelBatch(source="implicit", proposed=rows, **BY))
    assert found.reasons() == {"empty": 1, "unknown_label": 1}
    assert [row.id for row in found.accepted] == ["a"]
    assert "secret" not in str(found.quarantined)


def test_an_unknown_source_and_an_empty_batch() -> None:
    with pytest.raises(ValueError, match=r"vendor, implicit.*got 'rumour'"):
        LabelBatch(source="rumour", proposed=(), **BY)
    assert settled(LabelBatch(source="vendor", proposed=(), **BY)).accepted == ()


def heard(item: str, customer: str, label: str, *, at: int = 0, signal: str = "corrected") -> Feedback:
    return Feedback(item=item, customer=customer, at=f"2026-11-28T00:00:{at:02}Z", language="en", signal=signal,
                    label=label, event_id=f"{item}{customer}{at}")


def test_customers_need_numbers_and_one_mind_and_have_one_voice_each() -> None:
    events = [heard("a", c, WEATHER) for c in "1234"] + [heard("a", "5", MUSIC)]
    events += [heard("b", c, WEATHER) for c in "12"] + [heard("b", "3", MUSIC, signal="abandoned")]
    events += [heard("c", c, WEATHER) for c in "12"] + [heard("c", "3", MUSIC)]
    events += [heard("d", "1", MUSIC, at=n) for n in range(5)]  # one customer, five times
    events += [heard("e", "1", MUSIC), heard("e", "1", WEATHER, at=9), *(heard("e", c, WEATHER) for c in "23")]
    batch = implicit_batch(events, {name: f"text {name}" for name in "abcde"}, **BY)
    assert [(row.id, row.label) for row in settled(batch).accepted] == [("a", WEATHER), ("e", WEATHER)]
    assert settled(batch).reasons() == {"customers_differ": 1, "too_few_customers": 2}
    random.Random(1).shuffle(events)
    assert implicit_batch(events + events[:4], {name: f"text {name}" for name in "abcde"}, **BY) == batch


def test_labelling_functions_abstain_conflict_and_are_reported() -> None:
    functions = {
        "rain": lambda text: WEATHER if "rain" in text else None,
        "sun": lambda text: WEATHER if "sun" in text else None,
        "song": lambda text: MUSIC if "song" in text else None,
    }
    texts = ["rain and sun", "rain song", "a song", "hello", "rain sun song"]
    rows = [Text(id=str(n), text=text, language="en") for n, text in enumerate(texts)]
    batch, reports = programmatic_batch(rows, functions, **BY)
    found = settled(batch)
    assert [(row.id, row.label) for row in found.accepted] == [("0", WEATHER), ("2", MUSIC), ("4", WEATHER)]
    assert found.reasons() == {"functions_conflict": 1, "no_function_applies": 1}
    assert all(row.annotator_labels == () for row in found.accepted)  # rules are no annotators
    rain = reports["rain"]
    assert (rain.coverage, rain.overlap, rain.conflict) == pytest.approx((0.6, 0.6, 0.4))
    with pytest.raises(ValueError, match="at least one labelling function"):
        programmatic_batch(rows, {}, **BY)


def distilled(count: int, label: str = WEATHER, prefix: str = "m") -> list[Distilled]:
    return [Distilled(id=f"{prefix}{n:04}", text=f"text {n}", label=label, language="en", confidence=n % 10 / 10)
            for n in range(count)]


def test_a_models_labels_are_at_most_a_quarter_of_any_class_and_the_surest_stay() -> None:
    rows = distilled(200)
    people = {WEATHER: 150, MUSIC: 1_000}
    batch, report = distilled_batch(reversed(rows), {row.id: WEATHER for row in rows[:100]}, people, **BY)
    found = settled(batch)
    assert report.precision == 1.0
    assert len(found.accepted) / (len(found.accepted) + 150) == 0.25
    assert found.reasons() == {"over_class_cap": 150}
    kept = {row.id for row in found.accepted}
    assert min(r.confidence for r in rows if r.id in kept) >= max(r.confidence for r in rows if r.id not in kept)
    assert batch == distilled_batch(rows, {row.id: WEATHER for row in rows[:100]}, people, **BY)[0]


@pytest.mark.parametrize(("audited", "wrong", "reasons"), [
    (99, 0, {"not_audited": 120}), (100, 11, {"low_precision": 120}), (100, 10, {"audited_wrong": 10}),
])
def test_a_models_labels_are_taken_only_after_an_audit(audited: int, wrong: int, reasons: dict[str, int]) -> None:
    rows = distilled(120)
    people = {row.id: MUSIC if n < wrong else WEATHER for n, row in enumerate(rows[:audited])}
    batch, _ = distilled_batch(rows, people, {WEATHER: 10_000}, **BY)
    assert settled(batch).reasons() == reasons


def test_one_bad_class_is_left_out_though_the_batch_is_good() -> None:
    rows = distilled(300) + distilled(30, MUSIC, "p")
    people = {row.id: row.label for row in rows[:280]} | {row.id: WEATHER if n < 6 else MUSIC
                                                          for n, row in enumerate(rows[300:325])}
    batch, report = distilled_batch(rows, people, {WEATHER: 10_000, MUSIC: 10_000}, **BY)
    assert report.by_class[MUSIC] == 19 / 25
    assert settled(batch).reasons() == {"low_precision": 30}
    assert 0.95 < report.low < report.precision


def test_wilsons_interval_worked_out_by_hand() -> None:
    # 9 of 10: (.9 + .19208 - 1.96 * sqrt(.009 + .009604)) / 1.38416 = (1.09208 - .26734) / 1.38416
    assert wilson_low(9, 10) == pytest.approx(0.5958, abs=1e-4)


def test_what_is_accepted_is_a_label_file_that_passes_its_own_check(tmp_path: Path) -> None:
    votes = [said(f"i{n}", vendor, (WEATHER, MUSIC)[n % 2]) for n in range(40) for vendor in ("north", "south")]
    batch = vendor_batch(votes, {v.item: f"text {v.item}" for v in votes}, **BY)
    path = write_label_file(settled(batch), batch, tmp_path)
    with path.open("rb") as lines:
        checked = validate_lines(lines, file=path.name, taxonomy=SNIPS_V1)
    assert (len(checked.rows), checked.problems) == (40, ())
    assert checked.rows == settled(batch).accepted
    assert json.loads((tmp_path / "provenance.json").read_text()) == BY

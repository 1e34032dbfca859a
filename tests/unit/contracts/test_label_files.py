"""Label files: every bad row is named with file, row, field and what is allowed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from contracts.datasets import (
    FIELDS,
    FieldSpec,
    LabelFileError,
    LabelRow,
    RowProblem,
    declared_taxonomy,
    is_compatible,
    is_golden,
    parse_lines,
    taxonomy_from_dict,
    validate_lines,
)
from contracts.taxonomies import MANGA14_V1, SNIPS_V1, Taxonomy

TOY = Taxonomy(name="toy", labels=("a", "b"), safety_critical=(), languages=("en",))


def line(**changes: Any) -> bytes:
    row = {"id": "1", "text": "hello", "label": "a"} | changes
    return json.dumps({k: v for k, v in row.items() if v != "ABSENT"}).encode()


def problem(*lines: bytes) -> RowProblem:
    found = validate_lines(lines, file="labels.jsonl", taxonomy=TOY)
    assert len(found.problems) == 1
    return found.problems[0]


@pytest.mark.parametrize(("bad", "field", "reason", "allowed"), [
    (line(id="ABSENT"), "id", "missing_field", "a value of type str"),
    (line(text=None), "text", "missing_field", "a value of type str"),
    (line(text=7), "text", "wrong_type", "str"),
    (line(annotator_labels="a"), "annotator_labels", "wrong_type", "list"),
    (line(annotator_labels=[1]), "annotator_labels", "wrong_type", "list"),
    (line(schema_version="1"), "schema_version", "wrong_type", "int"),
    (line(schema_version=True), "schema_version", "wrong_type", "int"),
    (line(language="fr"), "language", "value_not_allowed", "en, ja, mixed"),
    (line(cohort="vip"), "cohort", "value_not_allowed", "new, returning, power_user"),
    (line(schema_version=2), "schema_version", "unknown_schema_version", "1"),
    (line(label="c"), "label", "unknown_label", "a, b"),
    (line(annotator_labels=["a", "c"]), "annotator_labels", "unknown_label", "a, b"),
    (line(id=" "), "id", "empty", "a non-empty string"),
    (line(text=" \n"), "text", "empty", "a non-empty string"),
    (line(text="x" * 2_001), "text", "too_long", "at most 2000 characters"),
    (line(customer_id="ann"), "asked_at", "missing_field", "a string beside customer_id"),
    (line(asked_at="2026-06-01T00:00:00Z"), "customer_id", "missing_field", "a string beside asked_at"),
    (line(customer_id=" ", asked_at="2026-06-01T00:00:00Z"), "customer_id", "empty", "a non-empty string"),
    *((line(customer_id="ann", asked_at=wrong), "asked_at", "not_a_time",
       "ISO-8601 with a zone, for example 2026-06-01T09:30:00Z") for wrong in
      ("2026-06-01T00:00:00", "yesterday", "0001-01-01T00:00:00+09:00")),
    (b'{"id": "1", "text": "\\ud800", "label": "a"}', "text", "unpaired_surrogate", "valid Unicode"),
    (b'{"id": "\\udc00", "text": "x", "label": "a"}', "id", "unpaired_surrogate", "valid Unicode"),
    (b'{"id": "1", "text": "x", "label": "a", "group_id": "\\ud800"}', "group_id", "unpaired_surrogate",
     "valid Unicode"),
    (b"\xff\xfe", "(line)", "not_utf8", "UTF-8 text (byte 0 is not)"),
    (b'{"id": ', "(line)", "invalid_json", "one JSON object per line (Expecting value, column 8)"),
    (b"[" * 100_000, "(line)", "invalid_json", "one flat JSON object per line"),
    (b'{"id": ' + b"1" * 5_000 + b"}", "(line)", "invalid_json", "one flat JSON object per line"),
    (b"[1]", "(line)", "not_an_object", "one JSON object per line"),
])
def test_a_bad_row_is_named_with_its_field_and_what_is_allowed(
    bad: bytes, field: str, reason: str, allowed: str
) -> None:
    found = problem(bad)
    assert (found.row, found.field, found.reason, found.allowed) == (1, field, reason, allowed)
    assert found.message("labels.jsonl") == f"labels.jsonl, row 1, field {field}: {reason}; allowed: {allowed}"


def test_a_message_never_holds_the_customers_words() -> None:
    found = problem(line(label="my address is 1-2-3"))
    assert found.value == "my address is 1-2-3"
    assert "address" not in found.message("f")


def test_an_id_used_twice_is_bad_the_second_time() -> None:
    found = validate_lines([line(), line(text="again")], file="f", taxonomy=TOY)
    assert [r.text for r in found.rows] == ["hello"]
    assert (found.problems[0].row, found.problems[0].reason) == (2, "duplicate_id")


def test_a_good_row_keeps_what_it_says_and_gets_defaults_for_the_rest() -> None:
    full = line(language="ja", cohort="new", daypart="peak", annotator_labels=["a", "b"], group_id="g", source="vendor",
                kind="real", schema_version=None)
    plain = line(id="2", text="ワンピース")
    rows = validate_lines([full, plain], file="f", taxonomy=TOY).rows
    assert rows[0] == LabelRow(id="1", text="hello", label="a", language="ja", cohort="new", daypart="peak",
                               annotator_labels=("a", "b"), group_id="g", source="vendor")
    assert rows[1] == LabelRow(id="2", text="ワンピース", label="a", language="ja", source="programmatic")
    assert rows[0].to_dict()["annotator_labels"] == ["a", "b"]


def test_rows_are_numbered_as_in_the_file_blank_lines_included() -> None:
    told: list[int] = []
    found = validate_lines([line(), b"  ", b"\n", line()], file="f", taxonomy=TOY, on_row=told.append)
    assert found.problems[0].row == 4
    assert told == [1, 4]
    assert found.total == 2


def test_a_byte_order_mark_at_the_start_is_no_error_but_later_it_is() -> None:
    mark = "\ufeff".encode()
    assert len(validate_lines([mark + line()], file="f", taxonomy=TOY).rows) == 1
    assert [p.reason for p in validate_lines([line(), mark + line(id="2")], file="f", taxonomy=TOY).problems] \
        == ["invalid_json"]


def test_more_than_one_percent_bad_is_too_many() -> None:
    good = [line(id=str(i)) for i in range(99)]
    at_limit = validate_lines([*good, b"{"], file="f", taxonomy=TOY)
    assert at_limit.bad_share == pytest.approx(0.01)
    assert not at_limit.too_many_bad
    over = validate_lines([*good[:98], b"{", b"["], file="f", taxonomy=TOY)
    assert over.too_many_bad
    assert over.reasons() == {"invalid_json": 2}


def test_a_file_of_bad_lines_only_is_all_bad() -> None:
    found = validate_lines([b"{"], file="f")
    assert (found.bad_share, found.too_many_bad) == (1.0, True)


def test_an_empty_validation_counts_as_all_bad() -> None:
    from contracts.datasets import Validation

    assert Validation(file="f", taxonomy=TOY, rows=(), problems=()).bad_share == 1.0


@pytest.mark.parametrize("lines", [[], [b""], [b"\n", b"  \t"]])
def test_an_empty_file_says_what_was_expected(lines: list[bytes]) -> None:
    with pytest.raises(LabelFileError, match=r"labels\.jsonl: the file is empty; expected one JSON object per line"):
        validate_lines(lines, file="labels.jsonl")


# --- which label set ------------------------------------------------------------------


def labelled(*labels: str, each: int = 1, **more: Any) -> list[bytes]:
    return [line(id=f"{label}-{i}", label=label, **more) for label in labels for i in range(each)]


def chosen(lines: list[bytes]) -> Taxonomy:
    return validate_lines(lines, file="f.jsonl").taxonomy


def test_the_rows_may_name_a_known_taxonomy() -> None:
    assert chosen([line(label="a", taxonomy="snips-v1")]) is SNIPS_V1


def test_a_known_taxonomy_is_told_by_most_of_the_labels() -> None:
    assert chosen(labelled("play_music", "get_weather", "something_else")) is SNIPS_V1
    assert chosen(labelled("complaint", "smalltalk")) is MANGA14_V1


def test_own_labels_with_enough_rows_become_a_taxonomy_and_rare_ones_are_bad() -> None:
    found = validate_lines([*labelled("x", "y", each=20), *labelled("rare", each=19)], file="f")
    assert (found.taxonomy.labels, found.taxonomy.languages) == (("x", "y"), ("en",))
    assert found.taxonomy.name.startswith("derived-")
    assert found.reasons() == {"unknown_label": 19}


def test_dimensions_that_every_row_carries_are_part_of_a_derived_taxonomy() -> None:
    rows = labelled("x", each=20, cohort="new", daypart="peak", language="ja") \
        + labelled("y", each=20, cohort="returning", daypart="peak")
    assert chosen(rows).required_slices() == tuple(
        {"language": language, "cohort": cohort, "daypart": "peak"}
        for language in ("en", "ja") for cohort in ("new", "returning"))


@pytest.mark.parametrize(("lines", "said"), [
    ([line(taxonomy="x"), line(taxonomy="y")], r"rows name several taxonomies \(x, y\); use one per file"),
    ([line(taxonomy="x")], r"unknown taxonomy 'x'; allowed: snips-v1, manga14-v1, or put your own"),
    (labelled("x", each=20), "needs at least two labels with 20 rows each, found 1"),
    (labelled("x", "y", each=20, language="fr"), "no row has a language that is known; allowed: en, ja, mixed"),
    (labelled("x", "y", each=20, language=["en"]), "no row has a language that is known"),
])
def test_a_label_set_that_can_not_be_told_says_what_to_do(lines: list[bytes], said: str) -> None:
    with pytest.raises(LabelFileError, match=said):
        validate_lines(lines, file="f.jsonl")


def test_a_label_set_beside_the_file_wins(tmp_path: Path) -> None:
    labels = tmp_path / "labels.jsonl"
    assert declared_taxonomy(labels) is None
    beside = tmp_path / "labels.taxonomy.json"
    declared = {"name": "own", "labels": ["a", "b"], "languages": ["en"], "cohorts": ["new"], "safety_critical": ["a"],
                "golden_share": 0.3}
    beside.write_text(json.dumps(declared), "utf-8")
    assert declared_taxonomy(labels) == Taxonomy(name="own", labels=("a", "b"), languages=("en",), cohorts=("new",),
                                                 safety_critical=("a",), golden_share=0.3)
    for data, said in ((b"{", "invalid JSON .* at line 1"), (b"\xff", r"not UTF-8 \(byte 0\)")):
        beside.write_bytes(data)
        with pytest.raises(LabelFileError, match=rf"labels\.taxonomy\.json: {said}"):
            declared_taxonomy(labels)


@pytest.mark.parametrize(("changes", "said"), [
    ({"name": 3}, "an object with name, labels and languages"),
    ({"labels": "ab"}, "field 'labels' must be a list of strings"),
    ({"labels": ["a", 1]}, "field 'labels' must be a list of strings"),
    ({"labels": None}, "field 'labels' must be a list of strings"),
    ({"labels": ["a"]}, "needs at least two labels"),
    ({"languages": []}, "needs at least one language"),
    ({"languages": ["fr"]}, r"languages \['fr'\] are unknown; allowed: en, ja, mixed"),
    ({"cohorts": ["vip"]}, r"cohorts \['vip'\] are unknown"),
    ({"safety_critical": ["z"]}, r"safety-critical labels \['z'\] are not among its labels"),
    ({"golden_share": 1.0}, "field 'golden_share' must be a number between 0 and 1"),
    ({"golden_share": True}, "field 'golden_share' must be a number between 0 and 1"),
])
def test_a_declared_label_set_is_checked(changes: dict[str, Any], said: str) -> None:
    declared = {"name": "own", "labels": ["a", "b"], "languages": ["en"]} | changes
    with pytest.raises(LabelFileError, match=said):
        taxonomy_from_dict(declared)


def test_a_declared_label_set_must_be_an_object() -> None:
    with pytest.raises(LabelFileError, match="an object with name"):
        taxonomy_from_dict([])  # type: ignore[arg-type]


# --- schema and split -------------------------------------------------------------------


def test_a_new_optional_field_is_compatible_and_everything_else_is_not() -> None:
    def changed(name: str, *specs: FieldSpec) -> list[str]:
        return is_compatible(FIELDS, [f for f in FIELDS if f.name != name] + list(specs))

    assert is_compatible(FIELDS, [*FIELDS, FieldSpec(name="new", type=str)]) == []
    assert is_compatible(FIELDS, [*FIELDS, FieldSpec(name="new", type=str, required=True)]) == [
        "new field 'new' is required"]
    assert changed("source") == ["field 'source' was removed"]
    assert changed("text", FieldSpec(name="text", type=list)) == ["field 'text' changed from str to list"]
    assert changed("cohort", FieldSpec(name="cohort", type=str, allowed=("new",))) == [
        "field 'cohort' allows fewer values"]
    assert changed("taxonomy", FieldSpec(name="taxonomy", type=str, allowed=("a",))) == []  # was free, stays readable


def test_the_golden_side_of_a_row_depends_on_its_group_or_id_alone() -> None:
    row = LabelRow(id="1", text="t", label="a", language="en", group_id="g")
    assert is_golden(row, 0.4) == is_golden({"id": "other", "group_id": "g"}, 0.4)
    assert is_golden({"id": "x"}, 0.4) == is_golden({"id": "x", "group_id": None}, 0.4)
    share = sum(is_golden({"id": str(i)}, 0.4) for i in range(5_000)) / 5_000
    assert share == pytest.approx(0.4, abs=0.03)
    assert not is_golden(row, 0.0)
    assert is_golden(row, 1.0)


def test_parsing_yields_each_line_once_in_order() -> None:
    parsed = list(parse_lines([b'{"a": 1}', b"", b"x", b'{"b": 2}']))
    assert [(n, type(v)) for n, v in parsed] == [(1, dict), (3, RowProblem), (4, dict)]

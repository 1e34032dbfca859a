"""Label files and frozen data sets: versioned schema, validation, quarantine, golden split.

A label file is JSON lines, one label a row. Errors name file, row, field and what is allowed;
the offending value itself is only in `RowProblem.value`, which a terminal may show and a log,
a notification or a quarantine report may not.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from contracts.language import LANGUAGES, detect_language
from contracts.taxonomies import COHORTS, DAYPARTS, TAXONOMIES, Taxonomy

SCHEMA_VERSION = 1
READABLE_SCHEMA_VERSIONS: tuple[int, ...] = (1,)
MAX_BAD_SHARE = 0.01  # more bad rows than this and the run stops
MAX_TEXT_CHARS = 2_000
MIN_LABEL_ROWS = 20  # a derived label set keeps labels with at least this many rows
SOURCES: tuple[str, ...] = ("vendor", "implicit", "programmatic", "llm_distilled")


class LabelFileError(ValueError):
    """The file as a whole can't be used; the message says what to do."""


@dataclass(frozen=True, kw_only=True)
class FieldSpec:
    name: str
    type: type
    required: bool = False
    allowed: tuple[str, ...] = ()


# Version 1. A new optional field is a compatible change; a new required, removed or retyped one is not.
FIELDS: tuple[FieldSpec, ...] = (
    FieldSpec(name="id", type=str, required=True),
    FieldSpec(name="text", type=str, required=True),
    FieldSpec(name="label", type=str, required=True),
    FieldSpec(name="language", type=str, allowed=LANGUAGES),
    FieldSpec(name="cohort", type=str, allowed=COHORTS),
    FieldSpec(name="daypart", type=str, allowed=DAYPARTS),
    FieldSpec(name="annotator_labels", type=list),
    FieldSpec(name="group_id", type=str),  # near-duplicates share one and stay on one side of the split
    FieldSpec(name="taxonomy", type=str),
    FieldSpec(name="schema_version", type=int),
    FieldSpec(name="source", type=str, allowed=SOURCES),
    FieldSpec(name="kind", type=str, allowed=("real", "made", "own")),
    FieldSpec(name="customer_id", type=str),  # a pseudonym; with it the cohort comes from the feature store
    FieldSpec(name="asked_at", type=str),  # when the customer wrote the text: ISO-8601 with a zone
)


def is_compatible(old: Sequence[FieldSpec], new: Sequence[FieldSpec]) -> list[str]:
    """Why data written under `old` could not be read under `new`; empty when it can."""
    before = {f.name: f for f in old}
    after = {f.name: f for f in new}
    problems = [f"field {name!r} was removed" for name in before.keys() - after.keys()]
    for name, spec in after.items():
        was = before.get(name)
        if was is None and spec.required:
            problems.append(f"new field {name!r} is required")
        elif was is not None and was.type is not spec.type:
            problems.append(f"field {name!r} changed from {was.type.__name__} to {spec.type.__name__}")
        elif was is not None and spec.allowed and not set(was.allowed or spec.allowed) <= set(spec.allowed):
            problems.append(f"field {name!r} allows fewer values")
    return sorted(problems)


LABEL_TIME = "asked_at"  # of a joined label: what was known then is what it may see


@dataclass(frozen=True, kw_only=True)
class LabelRow:
    id: str
    text: str
    label: str
    language: str
    cohort: str | None = None
    daypart: str | None = None
    annotator_labels: tuple[str, ...] = ()
    group_id: str | None = None
    source: str = "programmatic"
    customer_id: str | None = None
    asked_at: str | None = None

    def to_dict(self) -> dict[str, object]:
        return {
            "id": self.id, "text": self.text, "label": self.label, "language": self.language,
            "cohort": self.cohort, "daypart": self.daypart, "annotator_labels": list(self.annotator_labels),
            "group_id": self.group_id, "source": self.source, "customer_id": self.customer_id,
            "asked_at": self.asked_at,
        }


@dataclass(frozen=True, kw_only=True)
class RowProblem:
    """One bad row. `value` is customer text: for the terminal only."""

    row: int
    field: str
    reason: str  # a short code, counted in reports
    allowed: str
    value: str = ""

    def message(self, file: str) -> str:
        return f"{file}, row {self.row}, field {self.field}: {self.reason}; allowed: {self.allowed}"


@dataclass(frozen=True, kw_only=True)
class Validation:
    """What became of a label file: good rows, bad rows, never a lost row."""

    file: str
    taxonomy: Taxonomy
    rows: tuple[LabelRow, ...]
    problems: tuple[RowProblem, ...]

    @property
    def total(self) -> int:
        return len(self.rows) + len({p.row for p in self.problems})

    @property
    def bad_share(self) -> float:
        return (self.total - len(self.rows)) / self.total if self.total else 1.0

    @property
    def too_many_bad(self) -> bool:
        return self.bad_share > MAX_BAD_SHARE

    def reasons(self) -> dict[str, int]:
        return dict(sorted(Counter(p.reason for p in self.problems).items()))


def is_golden(row: LabelRow | Mapping[str, Any], share: float) -> bool:
    """Whether a row belongs to the golden set: by the hash of its group or id, never by position."""
    group, id_ = (row.group_id, row.id) if isinstance(row, LabelRow) else (row.get("group_id"), row["id"])
    key = str(group or id_)
    return int(hashlib.sha256(key.encode()).hexdigest()[:8], 16) / 2**32 < share


def _check_type(spec: FieldSpec, value: object) -> bool:
    if spec.type is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if spec.type is list:
        return isinstance(value, list) and all(isinstance(v, str) for v in value)
    return isinstance(value, spec.type)


def _field_problem(row: int, raw: Mapping[str, Any], labels: frozenset[str]) -> RowProblem | None:
    for spec in FIELDS:
        value = raw.get(spec.name)
        if value is None:
            if spec.required:
                return RowProblem(row=row, field=spec.name, reason="missing_field",
                                  allowed=f"a value of type {spec.type.__name__}")
            continue
        if not _check_type(spec, value):
            return RowProblem(row=row, field=spec.name, reason="wrong_type",
                              allowed=spec.type.__name__, value=repr(value)[:80])
        if spec.allowed and value not in spec.allowed:
            return RowProblem(row=row, field=spec.name, reason="value_not_allowed",
                              allowed=", ".join(spec.allowed), value=str(value)[:80])
    if raw.get("schema_version") not in (None, *READABLE_SCHEMA_VERSIONS):
        return RowProblem(row=row, field="schema_version", reason="unknown_schema_version",
                          allowed=", ".join(map(str, READABLE_SCHEMA_VERSIONS)),
                          value=str(raw["schema_version"]))
    if raw["label"] not in labels:
        return RowProblem(row=row, field="label", reason="unknown_label",
                          allowed=", ".join(sorted(labels)), value=raw["label"][:80])
    strays = [v for v in raw.get("annotator_labels") or () if v not in labels]
    if strays:
        return RowProblem(row=row, field="annotator_labels", reason="unknown_label",
                          allowed=", ".join(sorted(labels)), value=strays[0][:80])
    return _customer_problem(row, raw) or _text_problem(row, raw)


def _is_instant(text: str) -> bool:
    try:
        moment = datetime.fromisoformat(text)
        return moment.tzinfo is not None and bool(moment.astimezone(UTC))
    except (ValueError, OverflowError):  # the first hours of the year 1 are before it in UTC
        return False


def _customer_problem(row: int, raw: Mapping[str, Any]) -> RowProblem | None:
    """Who asked and when come together: one without the other can't be joined with what was known then."""
    for name, other in (("customer_id", "asked_at"), ("asked_at", "customer_id")):
        if raw.get(name) is None and raw.get(other) is not None:
            return RowProblem(row=row, field=name, reason="missing_field", allowed=f"a string beside {other}")
    if raw.get("customer_id") is None:
        return None
    if not raw["customer_id"].strip():
        return RowProblem(row=row, field="customer_id", reason="empty", allowed="a non-empty string")
    if not _is_instant(raw["asked_at"]):
        return RowProblem(row=row, field="asked_at", reason="not_a_time", value=raw["asked_at"][:80],
                          allowed="ISO-8601 with a zone, for example 2026-06-01T09:30:00Z")
    return None


def _text_problem(row: int, raw: Mapping[str, Any]) -> RowProblem | None:
    text: str = raw["text"]
    if not raw["id"].strip():
        return RowProblem(row=row, field="id", reason="empty", allowed="a non-empty string")
    if not text.strip():
        return RowProblem(row=row, field="text", reason="empty", allowed="a non-empty string")
    if len(text) > MAX_TEXT_CHARS:
        return RowProblem(row=row, field="text", reason="too_long",
                          allowed=f"at most {MAX_TEXT_CHARS} characters", value=f"{len(text)} characters")
    return None


def parse_lines(lines: Iterable[bytes]) -> Iterator[tuple[int, dict[str, Any] | RowProblem]]:
    """(row number from 1, the parsed object or what is wrong with the line); blank lines are skipped."""
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            # some editors begin a file with a byte order mark
            value = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
        except UnicodeDecodeError as error:
            yield number, RowProblem(row=number, field="(line)", reason="not_utf8",
                                     allowed=f"UTF-8 text (byte {error.start} is not)")
            continue
        except json.JSONDecodeError as error:
            yield number, RowProblem(row=number, field="(line)", reason="invalid_json",
                                     allowed=f"one JSON object per line ({error.msg}, column {error.colno})")
            continue
        except (ValueError, RecursionError):  # a number of 4,301 digits; a thousand brackets
            yield number, RowProblem(row=number, field="(line)", reason="invalid_json",
                                     allowed="one flat JSON object per line")
            continue
        if isinstance(value, dict):
            yield number, _surrogate_problem(number, value) or value
        else:
            yield number, RowProblem(row=number, field="(line)", reason="not_an_object",
                                     allowed="one JSON object per line")


def _surrogate_problem(row: int, raw: Mapping[str, Any]) -> RowProblem | None:
    """JSON can escape half a character (`\\ud800`), which no file, hash or tokeniser takes."""
    for spec in FIELDS:
        value = raw.get(spec.name)
        if isinstance(value, str) and any(0xD800 <= ord(c) <= 0xDFFF for c in value):
            return RowProblem(row=row, field=spec.name, reason="unpaired_surrogate", allowed="valid Unicode")
    return None


def resolve_taxonomy(
    file: str, rows: Sequence[Mapping[str, Any]], declared: Taxonomy | None = None
) -> Taxonomy:
    """Which label set a file speaks.

    The one declared beside it, else the one its rows name, else the known one that holds most of
    its labels, else one derived from the file: every label with at least `MIN_LABEL_ROWS` rows.
    """
    if declared is not None:
        return declared
    named = {row["taxonomy"] for row in rows if isinstance(row.get("taxonomy"), str)}
    if len(named) > 1:
        names = ", ".join(sorted(named))
        raise LabelFileError(f"{file}: rows name several taxonomies ({names}); use one per file")
    if named:
        name = named.pop()
        if name in TAXONOMIES:
            return TAXONOMIES[name]
        raise LabelFileError(f"{file}: unknown taxonomy {name!r}; allowed: {', '.join(TAXONOMIES)}, "
                             "or put your own label set beside the file as NAME.taxonomy.json")
    counts = Counter(row["label"] for row in rows if isinstance(row.get("label"), str))
    for taxonomy in TAXONOMIES.values():
        held = sum(n for label, n in counts.items() if label in taxonomy.labels)
        if counts and held * 2 > counts.total():
            return taxonomy
    return _derived_taxonomy(file, rows, counts)


def _derived_taxonomy(file: str, rows: Sequence[Mapping[str, Any]], counts: Counter[str]) -> Taxonomy:
    labels = tuple(sorted(label for label, n in counts.items() if n >= MIN_LABEL_ROWS))
    if len(labels) < 2:
        raise LabelFileError(
            f"{file}: needs at least two labels with {MIN_LABEL_ROWS} rows each, found {len(labels)}; "
            "add rows, or declare the label set beside the file as NAME.taxonomy.json"
        )

    def values(field: str, order: tuple[str, ...]) -> tuple[str, ...]:
        seen = Counter(value for row in rows if isinstance(value := row.get(field), str))
        return tuple(v for v in order if seen[v] >= 0.01 * len(rows))

    languages = Counter(str(row.get("language") or detect_language(str(row.get("text", "")))) for row in rows)
    spoken = tuple(v for v in LANGUAGES if languages[v] >= 0.01 * len(rows))
    if not spoken:
        raise LabelFileError(f"{file}: no row has a language that is known; allowed: {', '.join(LANGUAGES)}")
    every_row = {f: all(row.get(f) for row in rows) for f in ("cohort", "daypart")}
    return Taxonomy(
        name=f"derived-{hashlib.sha256(','.join(labels).encode()).hexdigest()[:8]}",
        labels=labels, safety_critical=(),
        languages=spoken,
        cohorts=values("cohort", COHORTS) if every_row["cohort"] else (),
        dayparts=values("daypart", DAYPARTS) if every_row["daypart"] else (),
    )


def taxonomy_from_dict(raw: Mapping[str, Any]) -> Taxonomy:
    """A declared label set: {"name", "labels", "safety_critical", "languages", "cohorts"?, "dayparts"?}."""

    def names(field: str, *, needed: bool = False) -> tuple[str, ...]:
        value = raw.get(field)
        if value is None and not needed:
            return ()
        if not isinstance(value, list | tuple) or not all(isinstance(v, str) for v in value):
            raise LabelFileError(f"taxonomy: field {field!r} must be a list of strings")
        return tuple(value)

    if not isinstance(raw, Mapping) or not isinstance(raw.get("name"), str):
        raise LabelFileError("taxonomy: needed is an object with name, labels and languages")
    share = raw.get("golden_share", 0.4)
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share < 1:
        raise LabelFileError("taxonomy: field 'golden_share' must be a number between 0 and 1")
    try:
        return Taxonomy(
            name=raw["name"], labels=names("labels", needed=True), safety_critical=names("safety_critical"),
            languages=names("languages", needed=True), cohorts=names("cohorts"), dayparts=names("dayparts"),
            golden_share=float(share), kind=str(raw.get("kind", "own")),
        )
    except LabelFileError:
        raise
    except ValueError as error:
        raise LabelFileError(str(error)) from None


def declared_taxonomy(path: Path) -> Taxonomy | None:
    """The label set beside a label file (`labels.jsonl` -> `labels.taxonomy.json`), if there is one."""
    beside = path.with_suffix(".taxonomy.json")
    if not beside.exists():
        return None
    try:
        return taxonomy_from_dict(json.loads(beside.read_text("utf-8")))
    except UnicodeDecodeError as error:
        raise LabelFileError(f"{beside.name}: not UTF-8 (byte {error.start})") from None
    except json.JSONDecodeError as error:
        raise LabelFileError(f"{beside.name}: invalid JSON ({error.msg} at line {error.lineno})") from None


def validate_lines(
    lines: Iterable[bytes], *, file: str, taxonomy: Taxonomy | None = None,
    on_row: Callable[[int], None] = lambda row: None,
) -> Validation:
    """Check every line of a label file.

    Raises
    ------
    LabelFileError
        The file is empty or its label set can't be told. A bad row is never an error here:
        it is in `problems`, and the caller quarantines it.
    """
    parsed: list[tuple[int, dict[str, Any]]] = []
    problems: list[RowProblem] = []
    for number, value in parse_lines(lines):
        on_row(number)
        if isinstance(value, RowProblem):
            problems.append(value)
        else:
            parsed.append((number, value))
    if not parsed and not problems:
        raise LabelFileError(
            f"{file}: the file is empty; expected one JSON object per line with id, text and label")
    chosen = resolve_taxonomy(file, [value for _, value in parsed], taxonomy) if parsed else \
        (taxonomy or next(iter(TAXONOMIES.values())))
    labels = frozenset(chosen.labels)
    rows: list[LabelRow] = []
    seen: set[str] = set()
    for number, raw in parsed:
        problem = _field_problem(number, raw, labels)
        if problem is None and raw["id"] in seen:
            problem = RowProblem(row=number, field="id", reason="duplicate_id",
                                 allowed="an id used once in the file", value=raw["id"][:80])
        if problem is not None:
            problems.append(problem)
            continue
        seen.add(raw["id"])
        rows.append(LabelRow(
            id=raw["id"], text=raw["text"], label=raw["label"],
            language=raw.get("language") or detect_language(raw["text"]),
            cohort=raw.get("cohort"), daypart=raw.get("daypart"),
            annotator_labels=tuple(raw.get("annotator_labels") or ()), group_id=raw.get("group_id"),
            source=raw.get("source") or "programmatic",
            customer_id=raw.get("customer_id"), asked_at=raw.get("asked_at"),
        ))
    problems.sort(key=lambda p: p.row)
    return Validation(file=file, taxonomy=chosen, rows=tuple(rows), problems=tuple(problems))

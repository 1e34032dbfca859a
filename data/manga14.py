"""`manga14-v1`: made utterances for the 14 MangaAssist intents, in English, Japanese and mixed script.

    python -m data.manga14 OUT.jsonl [--rows N] [--seed S]

No public data has these intents in Japanese, so this is data we make, marked `"kind": "made"`:
templates written by hand (data/manga14_text), filled with titles and numbers, wrapped in greetings
and background that any intent may have, with typing errors and simulated annotators. The template
is the row's `group_id`: golden rows come from templates that training never sees. docs/data.md
says what these numbers can and can't tell.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contracts.datasets import SCHEMA_VERSION, is_golden
from contracts.language import detect_language
from contracts.taxonomies import COHORTS, DAYPARTS, MANGA14_V1
from data.lines import write_lines
from data.manga14_noise import annotate, mistype

ROWS = 7_770  # 42 intent-language cells of 185, 65 of them golden: 151 per language x cohort x daypart
SEED = 14
TEXT = Path(__file__).with_name("manga14_text")
OPENER_SHARE, CONTEXT_SHARE, CLOSER_SHARE = 0.45, 0.25, 0.30
TRIES = 200  # for a text that no other row has
MAX_VOLUME, AGES, WAIT_DAYS = 30, (7, 16), (9, 40)
_ASKS_NOTHING = ("smalltalk", "complaint")  # "please" or "asap" after these would turn them into requests


@dataclass(frozen=True, kw_only=True)
class Template:
    """One hand-written way to say one intent; `group_id` depends on its words, so reordering moves no row."""

    language: str
    intent: str
    text: str

    @property
    def group_id(self) -> str:
        digest = hashlib.sha256(f"{self.language}\n{self.intent}\n{self.text}".encode()).hexdigest()
        return f"{MANGA14_V1.name}-{self.language}-{digest[:12]}"

    @property
    def golden(self) -> bool:
        return is_golden({"id": self.group_id, "group_id": self.group_id}, MANGA14_V1.golden_share)


def templates() -> list[Template]:
    """All templates, in the order of their files."""
    found: list[Template] = []
    for language in MANGA14_V1.languages:
        intent = ""
        for line in (TEXT / f"{language}.txt").read_text("utf-8").splitlines():
            if line.startswith("["):
                intent = line.strip("[]")
                if intent not in MANGA14_V1.labels:
                    raise ValueError(f"{language}.txt: unknown intent {intent!r}; "
                                     f"allowed: {', '.join(MANGA14_V1.labels)}")
            elif line.strip() and not line.startswith("#"):
                found.append(Template(language=language, intent=intent, text=line.strip()))
    return found


def generate(*, rows: int = ROWS, seed: int = SEED) -> Iterator[dict[str, object]]:
    """Label rows, the same for the same `rows` and `seed`.

    Every intent x language has equally many rows, `golden_share` of them golden, and within each
    part all cohorts and day parts equally often: a slice is never short of evidence by bad luck.
    """
    cells = list(itertools.product(MANGA14_V1.languages, MANGA14_V1.labels))
    per_cell = rows // len(cells)
    if per_cell < 6:
        raise ValueError(f"rows must be at least {6 * len(cells)}, 6 for each intent and language, got {rows}")
    writer, groups = _Writer(), templates()
    seen: set[str] = set()
    for number, (language, intent) in enumerate(cells):
        for golden in (True, False):
            pool = [t for t in groups if (t.language, t.intent, t.golden) == (language, intent, golden)]
            if not pool:
                side = "golden" if golden else "training"
                raise ValueError(f"{language}.txt: no {side} template for {intent}; add templates")
            share = round(per_cell * MANGA14_V1.golden_share)
            count = share if golden else per_cell - share
            rng = random.Random(f"{seed}/{language}/{intent}/{golden}")  # a string seeds by its bytes, everywhere alike
            yield from _cell(pool, count, offset=number * count, rng=rng, writer=writer, seen=seen)


def _cell(pool: list[Template], count: int, *, offset: int, rng: random.Random, writer: _Writer,
          seen: set[str]) -> Iterator[dict[str, object]]:
    slices = itertools.islice(itertools.cycle(itertools.product(COHORTS, DAYPARTS)), offset, offset + count)
    balanced = list(slices)
    rng.shuffle(balanced)  # or a template would meet always the same slices, and a slice few templates
    rng.shuffle(pool)
    for i, (cohort, daypart) in enumerate(balanced):
        template = pool[i % len(pool)]
        for _ in range(TRIES):
            text = writer.write(template, cohort, rng)
            if text not in seen and detect_language(text) == template.language:
                break
        else:
            raise ValueError(f"template {template.text!r} has too few variants for {count} rows of {template.intent}; "
                             "give it a slot, or ask for fewer rows")
        seen.add(text)
        yield {
            "id": "manga14-" + hashlib.sha256(text.encode()).hexdigest()[:16], "text": text, "label": template.intent,
            "language": template.language, "cohort": cohort, "daypart": daypart,
            "annotator_labels": annotate(template.intent, rng), "group_id": template.group_id,
            "taxonomy": MANGA14_V1.name, "schema_version": SCHEMA_VERSION, "source": "programmatic",
            "kind": MANGA14_V1.kind,
        }


class _Writer:
    """Turns a template into an utterance: slots, greeting, background, farewell, typing errors."""

    def __init__(self) -> None:
        self.slots: dict[str, list[list[str]]] = json.loads((TEXT / "slots.json").read_text("utf-8"))
        self.phrases: dict[str, Any] = json.loads((TEXT / "phrases.json").read_text("utf-8"))

    def write(self, template: Template, cohort: str, rng: random.Random) -> str:
        language, phrases = template.language, self.phrases[template.language]
        parts = [template.text]
        if rng.random() < CONTEXT_SHARE:
            parts.insert(0, rng.choice(phrases["contexts"]))
        if rng.random() < OPENER_SHARE:
            parts.insert(0, rng.choice(phrases["openers"][cohort]))
        if rng.random() < CLOSER_SHARE and template.intent not in _ASKS_NOTHING:
            parts.append(_farewell(parts[-1], rng.choice(phrases["closers"]), language))
        values = self._values(language, rng)
        text = "".join(parts).format_map(values)
        if language == "en" and rng.random() < 0.2:
            text = text.lower()
        return mistype(text, language, rng)

    def _values(self, language: str, rng: random.Random) -> dict[str, str]:
        """One value a slot. Mixed text names works and people in Latin letters and the rest in Japanese."""
        japanese = language == "ja"

        def pick(name: str, *, latin: bool) -> str:
            return rng.choice(self.slots[name])[0 if latin else 1]

        title, other = rng.sample(self.slots["titles"], 2)
        latin_names = not japanese
        english = language == "en"
        order = str(rng.randint(20_000, 99_999))
        return {
            "title": title[int(japanese)], "title2": other[int(japanese)],
            "author": pick("authors", latin=latin_names),
            "theme": pick("themes", latin=english), "theme_en": pick("themes", latin=True),
            "genre": pick("genres", latin=english), "genre_en": pick("genres", latin=True),
            "format": pick("formats", latin=english or (not japanese and rng.random() < 0.4)),
            "city": pick("cities", latin=english or (not japanese and rng.random() < 0.4)),
            "country": pick("countries", latin=english), "month": pick("months", latin=english),
            "past": pick("past", latin=english), "soon": pick("soon", latin=english),
            "price": pick("prices", latin=english), "n": str(rng.randint(2, MAX_VOLUME)),
            "age": str(rng.randint(*AGES)), "days": str(rng.randint(*WAIT_DAYS)),
            "order": rng.choice([f"#{order}", f"{order}-{rng.randint(1, 9)}"]),
        }


def _farewell(before: str, closer: str, language: str) -> str:
    """A closer that follows the sentence properly: a Japanese sentence without a full stop gets one."""
    if language == "ja" and before[-1] not in "。？！":
        return "。" + closer
    return closer


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m data.manga14", description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="label file to write")
    parser.add_argument("--rows", type=int, default=ROWS, help="how many rows, about (default %(default)s)")
    parser.add_argument("--seed", type=int, default=SEED, help="another seed is another data set (default %(default)s)")
    args = parser.parse_args(argv)
    count = write_lines(generate(rows=args.rows, seed=args.seed), args.out)
    print(f"{args.out}: {count} rows, made data")


if __name__ == "__main__":
    main()

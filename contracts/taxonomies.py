"""Label sets, each with a version: a data set and a model always name the one they speak.

`manga14-v1` is the product's; `snips-v1` is public, English and real, and stands in for it
where no MangaAssist labels exist. Somebody's own label set comes in beside its file or is
derived from it (contracts.datasets).
"""

from __future__ import annotations

from dataclasses import dataclass

from contracts.language import LANGUAGES

COHORTS: tuple[str, ...] = ("new", "returning", "power_user")
DAYPARTS: tuple[str, ...] = ("peak", "off_peak")


@dataclass(frozen=True, kw_only=True)
class Taxonomy:
    """A label set and which dimensions its rows carry.

    `golden_share` of the rows, chosen by id hash, is never trained on.
    """

    name: str
    labels: tuple[str, ...]
    safety_critical: tuple[str, ...]
    languages: tuple[str, ...]
    cohorts: tuple[str, ...] = ()
    dayparts: tuple[str, ...] = ()
    golden_share: float = 0.4
    kind: str = "own"  # real, made or own: shown wherever numbers are shown

    def __post_init__(self) -> None:
        if len(set(self.labels)) < 2:
            raise ValueError(f"taxonomy {self.name!r} needs at least two labels, got {list(self.labels)}")
        if not self.languages:  # no language would mean no slice, and no slice gate that could fail
            raise ValueError(f"taxonomy {self.name!r} needs at least one language: {', '.join(LANGUAGES)}")
        for field, known in (("languages", LANGUAGES), ("cohorts", COHORTS), ("dayparts", DAYPARTS)):
            unknown = sorted(set(getattr(self, field)) - set(known))
            if unknown:
                raise ValueError(
                    f"taxonomy {self.name!r}: {field} {unknown} are unknown; allowed: {', '.join(known)}"
                )
        stray = set(self.safety_critical) - set(self.labels)
        if stray:
            raise ValueError(
                f"taxonomy {self.name!r}: safety-critical labels {sorted(stray)} are not among its labels"
            )

    def required_slices(self) -> tuple[dict[str, str], ...]:
        """Every language x cohort x daypart that must have evidence; dimensions the data lacks drop out."""
        slices: list[dict[str, str]] = [{"language": language} for language in self.languages]
        for name, values in (("cohort", self.cohorts), ("daypart", self.dayparts)):
            if values:
                slices = [{**s, name: v} for s in slices for v in values]
        return tuple(slices)


SNIPS_V1 = Taxonomy(
    name="snips-v1",
    labels=(
        "add_to_playlist",
        "book_restaurant",
        "get_weather",
        "play_music",
        "rate_book",
        "search_creative_work",
        "search_screening_event",
    ),
    safety_critical=("book_restaurant",),  # the one that spends somebody's money
    languages=("en",),
    golden_share=0.45,  # 300 rows: enough to turn down nine of ten candidates that are 5 points worse
    kind="real",
)

MANGA14_V1 = Taxonomy(
    name="manga14-v1",
    labels=(
        "product_search",
        "recommendation_request",
        "order_status",
        "return_request",
        "escalation",
        "complaint",
        "stock_check",
        "price_question",
        "series_info",
        "release_date",
        "review_question",
        "shipping_question",
        "account_help",
        "smalltalk",
    ),
    safety_critical=("return_request", "escalation", "complaint"),
    languages=("en", "ja", "mixed"),
    cohorts=COHORTS,
    dayparts=DAYPARTS,
    golden_share=0.35,
    kind="made",
)

TAXONOMIES: dict[str, Taxonomy] = {t.name: t for t in (SNIPS_V1, MANGA14_V1)}


def slice_key(dimensions: dict[str, str]) -> str:
    """`language=ja,cohort=new`: the key of a slice in every report."""
    return ",".join(f"{name}={value}" for name, value in dimensions.items())

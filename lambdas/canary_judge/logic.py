"""Is the candidate worse than the champion beside it? Counts of two looks in, a verdict with its numbers out.

Beside it as a shadow, on copies of requests, or as a canary with requests of its own: the same counts and the same
test. A shadow's answers are compared one by one as well (agreement.py).

Never "better": a candidate that is not seen to be worse goes on under its guardrail alarms, and the audit trail says
how much was seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from contracts import metrics
from contracts.language import LANGUAGES
from contracts.sequential import Evidence, Outcomes, e_value
from contracts.serving import CanaryTest
from lambdas.canary_judge.agreement import Agreement

WORSE, NO_WORSE, NO_EVIDENCE = "worse", "no_worse", "no_evidence"
PERIOD_S = 60
CHAMPION, CANDIDATE = "champion", "candidate"
MEASURES = {"errors": metrics.SERVED_ERRORS, "slow": metrics.SERVED_SLOW, "unsure": metrics.SERVED_UNSURE}
TESTS = tuple((measure, language) for measure in MEASURES for language in LANGUAGES)
_COUNTED = (metrics.SERVED, *MEASURES.values())
_TOLD = 3  # what is said becomes the registry's description of the version, which has room for 1,024 characters

Totals = dict[str, int]  # query id -> how often since the first look


def query_id(side: str, metric: str, language: str) -> str:
    return f"{side}_{metric}_{language}"


def queries(slug: str, *, champion: str, candidate: str) -> list[dict[str, Any]]:
    """MetricDataQueries for every count of either version in every language."""
    return [{
        "Id": query_id(side, metric, language),
        "MetricStat": {"Period": PERIOD_S, "Stat": "Sum", "Metric": {
            "Namespace": metrics.NAMESPACE, "MetricName": metric, "Dimensions": [
                {"Name": name, "Value": value} for name, value in metrics.dimensions(
                    metric, story=slug, language=language, version=version).items()]}},
    } for side, version in ((CHAMPION, champion), (CANDIDATE, candidate))
        for metric in _COUNTED for language in LANGUAGES]


def totals(sums: Mapping[str, float]) -> Totals:
    return {query_id(side, metric, language): round(sums.get(query_id(side, metric, language), 0.0))
            for side in (CHAMPION, CANDIDATE) for metric in _COUNTED for language in LANGUAGES}


@dataclass(frozen=True, kw_only=True)
class Sight:
    """All looks so far. The first only sets where counting begins: a new fleet's first answers are its warm-up."""

    champion: str  # who served at the first look, whatever the pointer says later
    since: float  # epoch seconds
    last: Totals = field(default_factory=dict)  # empty before the first look
    evidence: Mapping[tuple[str, str], Evidence] = field(default_factory=dict)

    def after(self, now: Totals) -> Sight:
        if not self.last:
            return replace(self, last=now, evidence={test: Evidence() for test in TESTS})
        last, evidence = dict(self.last), dict(self.evidence)
        for language in LANGUAGES:
            blocks = _blocks(self.last, now, language)
            if blocks is None:
                continue  # a count that has not arrived whole yet: the next look has it
            for measure, (champion, candidate) in blocks.items():
                evidence[measure, language] = evidence[measure, language].after(champion, candidate)
            last.update({key: now[key] for key in _keys(language)})
        return replace(self, last=last, evidence=evidence)

    def to_json(self) -> dict[str, Any]:
        evidence = {f"{measure}/{language}": {
            "champion": [e.a.failed, e.a.of], "candidate": [e.b.failed, e.b.of],
            "log_e": [round(value, 6) for value in e.log_e]} for (measure, language), e in self.evidence.items()}
        return {"champion": self.champion, "since": self.since, "last": self.last, "evidence": evidence}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Sight:
        evidence = {}
        for name, e in raw["evidence"].items():
            measure, _, language = name.partition("/")
            (a, of_a), (b, of_b) = e["champion"], e["candidate"]
            evidence[measure, language] = Evidence(
                a=Outcomes(failed=a, of=of_a), b=Outcomes(failed=b, of=of_b), log_e=tuple(e["log_e"]))
        return cls(champion=raw["champion"], since=raw["since"], last=dict(raw["last"]), evidence=evidence)


def _keys(language: str) -> Iterator[str]:
    return (query_id(side, metric, language) for side in (CHAMPION, CANDIDATE) for metric in _COUNTED)


def _blocks(last: Totals, now: Totals, language: str) -> dict[str, tuple[Outcomes, Outcomes]] | None:
    """Per measure what champion and candidate did since the last look; None when failures outnumber requests."""
    new = {key: now[key] - last[key] for key in _keys(language)}
    found = {}
    for measure, metric in MEASURES.items():
        pair = []
        for side in (CHAMPION, CANDIDATE):
            failed, of = new[query_id(side, metric, language)], new[query_id(side, metrics.SERVED, language)]
            if not 0 <= failed <= of:
                return None
            pair.append(Outcomes(failed=failed, of=of))
        found[measure] = (pair[0], pair[1])
    return found


@dataclass(frozen=True, kw_only=True)
class Verdict:
    name: str
    said: str


def alpha_of_each(test: CanaryTest, *, agreement: bool) -> float:
    """All tests together abort a candidate that is no worse with `test.alpha` at most; agreement brings more tests."""
    return test.alpha / (len(TESTS) + (len(LANGUAGES) if agreement else 0))


def judge(sight: Sight, test: CanaryTest, *, candidate: str, agreement: Agreement | None = None) -> Verdict:
    """Worse when one measure is so in one language, beyond doubt and by more than is tolerated.

    `agreement`: of a shadow's answers with the champion's.
    """
    champion = sight.champion
    tolerated = {"errors": test.tolerated_errors, "slow": test.tolerated_slow, "unsure": test.tolerated_unsure}
    alpha = alpha_of_each(test, agreement=agreement is not None)
    worse = [_told(measure, language, evidence, alpha) for (measure, language), evidence in sight.evidence.items()
             if evidence.worse_beyond_doubt(alpha) and evidence.excess > tolerated[measure]]
    if agreement is not None:
        worse += agreement.excesses(alpha)
    if worse:
        more = f"; and {len(worse) - _TOLD} more" if len(worse) > _TOLD else ""
        return Verdict(name=WORSE, said=f"version {candidate} is worse than {champion} beside it: "
                                        f"{'; '.join(worse[:_TOLD])}{more}")
    seen, beside = (_answers(evidence) for evidence in _by_side(sight))
    compared = "" if agreement is None else f"; {agreement.said}"
    if not seen or not beside:
        watched = "; guardrail alarms alone watched" if agreement is None else compared
        return Verdict(name=NO_EVIDENCE, said=f"{seen} answers of version {candidate} beside {beside} of {champion}: "
                                              f"no evidence{watched}")
    return Verdict(name=NO_WORSE, said=f"not seen to be worse: {seen} answers of version {candidate} beside {beside} "
                                       f"of {champion}{compared}")


def _by_side(sight: Sight) -> tuple[list[Outcomes], list[Outcomes]]:
    one = [e for (measure, _), e in sight.evidence.items() if measure == next(iter(MEASURES))]
    return [e.b for e in one], [e.a for e in one]


def _answers(outcomes: Iterable[Outcomes]) -> int:
    return sum(o.of for o in outcomes)


def _told(measure: str, language: str, evidence: Evidence, alpha: float) -> str:
    candidate, champion = evidence.b, evidence.a
    return (f"{measure} in {language} {candidate.failed} of {candidate.of} ({candidate.rate:.1%}) against "
            f"{champion.failed} of {champion.of} ({champion.rate:.1%}), {e_value(evidence.log_value, alpha)}")

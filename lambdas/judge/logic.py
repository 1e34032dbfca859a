"""Evaluation report -> verdict, bound to the report by its SHA-256."""

from __future__ import annotations

import hashlib
from typing import Any

from contracts import records
from contracts.datasets import LabelFileError, taxonomy_from_dict
from contracts.gates import Verdict, judge
from contracts.story import StoryContract
from contracts.taxonomies import TAXONOMIES, Taxonomy
from lambdas.shared.errors import EvidenceMissing

# A state's payload has 256 KiB; the whole verdict is in S3.
MAX_GATES, MAX_REASONS, MAX_REASON_CHARS = 40, 20, 300


def taxonomy_of(report: dict[str, Any]) -> Taxonomy:
    """The label set that was evaluated.

    A known name means our own definition, whatever the report says of it: a report must not choose
    which slices it answers for.
    """
    declared = report.get("taxonomy")
    if not isinstance(declared, dict):
        raise EvidenceMissing("the evaluation report names no taxonomy")
    known = TAXONOMIES.get(str(declared.get("name")))
    if known is not None:
        return known
    try:
        return taxonomy_from_dict(declared)
    except (LabelFileError, ValueError, TypeError) as error:
        raise EvidenceMissing(f"the evaluation report's taxonomy can't be read: {error}") from None


def verdict_of(report: dict[str, Any], story: StoryContract, *, champion_version: str) -> Verdict:
    if report.get("story") != story.slug:
        raise EvidenceMissing(
            f"the evaluation report is of story {report.get('story')!r}, not of {story.slug!r}"
        )
    champion = None if champion_version == records.NO_CHAMPION else champion_version
    return judge(report, gates=story.gates, taxonomy=taxonomy_of(report), champion_version=champion)


def verdict_file(verdict: Verdict, *, story: str, champion_version: str, evaluation: bytes) -> dict[str, Any]:
    """What is written beside the evaluation; publish refuses a verdict on any other evaluation."""
    return {
        "story": story,
        "champion_version": champion_version,
        "evaluation_sha256": hashlib.sha256(evaluation).hexdigest(),
        **verdict.to_dict(),
    }


def answer(verdict: Verdict, verdict_uri: str) -> dict[str, Any]:
    whole = verdict.to_dict()
    # failed gates first, so that the cut never hides one
    gates = sorted(whole["gates"], key=lambda g: g["passed"])[:MAX_GATES]
    return {
        "passed": verdict.passed,
        "failed": whole["failed"][:MAX_GATES],
        "reasons": [reason[:MAX_REASON_CHARS] for reason in whole["reasons"][:MAX_REASONS]],
        "gates": gates,
        "verdict_uri": verdict_uri,
    }

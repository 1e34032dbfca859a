"""What a published model consists of: which files, under which names, with which lineage."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from contracts import naming
from contracts.registry import RegistryContract, RegistryError
from lambdas.shared.errors import EvidenceMissing

# Signed with the model, because the drift monitor and the next evaluation rely on them.
EVIDENCE_FILES: tuple[str, ...] = (naming.EVALUATION_FILE, naming.DRIFT_REFERENCE_FILE)
_TRAINING_OUTPUT = "output/model/"  # SageMaker writes an uncompressed model to PREFIX/JOB/output/model/


def model_root(keys: Iterable[str], prefix: str) -> str:
    """The one folder below `prefix` that holds the model's files.

    `prefix` may be that folder itself or the training job's output path above it. Two jobs' outputs
    are refused: which of them was evaluated can't be told.
    """
    roots = {
        key[: key.index(_TRAINING_OUTPUT, len(prefix)) + len(_TRAINING_OUTPUT)]
        if _TRAINING_OUTPUT in key[len(prefix) :]
        else prefix
        for key in keys
    }
    if not roots:
        raise EvidenceMissing(f"no model below {prefix}")
    if len(roots) > 1:
        raise EvidenceMissing(f"several models below {prefix}: {', '.join(sorted(roots))}; name one of them")
    return roots.pop()


def sources(model_keys: Iterable[str], root: str, evaluation_folder: str) -> dict[str, str]:
    """Published file name -> key it is copied from."""
    files = {key.removeprefix(root): key for key in model_keys}
    clash = sorted(
        name for name in files if name in (*EVIDENCE_FILES, naming.MANIFEST_FILE, naming.SIGNATURE_FILE)
    )
    if clash:
        raise EvidenceMissing(
            f"the training job wrote {', '.join(clash)}, which only evaluation and publish may write"
        )
    return files | {name: evaluation_folder + name for name in EVIDENCE_FILES}


def check_verdict(verdict: Mapping[str, Any], *, story: str, evaluation_sha256: str) -> None:
    """EvidenceMissing unless this very evaluation was judged, for this story, and passed."""
    if verdict.get("story") != story:
        raise EvidenceMissing(f"the verdict is of story {verdict.get('story')!r}, not of {story!r}")
    if verdict.get("evaluation_sha256") != evaluation_sha256:
        raise EvidenceMissing(
            "the verdict judged another evaluation than the one to be published; judge again"
        )
    if verdict.get("passed") is not True:
        raise EvidenceMissing("the verdict did not pass: a rejected candidate is never published")


def proof(
    contract: RegistryContract, report: Mapping[str, Any], *, run_id: str
) -> tuple[dict[str, str], dict[str, str]]:
    """(lineage, which is signed in the manifest; measures, which the package carries beside it)."""
    try:
        return {**contract.origins(report), "run_id": run_id}, contract.measures(report)
    except RegistryError as error:
        raise EvidenceMissing(f"not published: {error}") from None

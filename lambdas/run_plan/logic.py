"""All that the later steps of a retrain need, from the pointer, the contract and the run's id."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from contracts import naming, pipeline, records
from contracts.story import StoryContract


@dataclass(frozen=True, kw_only=True)
class Rooms:
    """The two buckets a run writes to."""

    lake: str
    artifacts: str


def plan(
    story: StoryContract,
    *,
    run_id: str,
    pointer: Mapping[str, Any] | None,
    rooms: Rooms,
    hyperparameters: Mapping[str, str],
) -> dict[str, Any]:
    """The same run plans the same: names and tokens are made from `run_id`."""
    slug = story.slug
    champion_version = str(pointer["version"]) if pointer else records.NO_CHAMPION
    champion_uri = (
        str(pointer["model_uri"]) if pointer else f"s3://{rooms.artifacts}/{naming.no_champion_prefix(slug)}"
    )
    dataset_uri = f"s3://{rooms.lake}/{naming.dataset_prefix(slug, run_id)}"
    output_uri = f"s3://{rooms.artifacts}/{naming.run_prefix(slug, run_id)}"
    run_hash = hashlib.sha256(f"{slug}/{run_id}".encode()).hexdigest()
    parameters = pipeline.parameters(
        story,
        {
            pipeline.RUN_ID: run_id,
            pipeline.DATASET_URI: dataset_uri,
            pipeline.OUTPUT_URI: output_uri,
            pipeline.CHAMPION_URI: champion_uri,
            pipeline.CHAMPION_VERSION: champion_version,
        },
        hyperparameters,
    )
    return {
        "champion_version": champion_version,
        "champion_uri": champion_uri,
        "label_version_above": str(pointer["label_version_to"]) if pointer else "0",
        "dataset_uri": dataset_uri,
        "output_uri": output_uri,
        "model_uri": output_uri + pipeline.MODEL_FOLDER,
        "evaluation_uri": output_uri + pipeline.EVALUATION_FOLDER,
        "client_token": run_hash,  # 64 characters; SageMaker asks for 32 to 128
        "freeze_job_name": naming.freeze_job(slug, run_hash),
        "pipeline_parameters": parameters,
    }

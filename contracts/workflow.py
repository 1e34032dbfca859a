"""What the state machines, the pipeline and the functions around them agree on."""

from __future__ import annotations

from typing import Final

# Seconds between two looks at something that has no event we could trust to arrive.
FREEZE_POLL_S: Final = 30
INGEST_POLL_S: Final = 30
PIPELINE_POLL_S: Final = 30
RELEASE_POLL_S: Final = 30
JOIN_POLL_S: Final = 30
SHADOW_POLL_S: Final = 120  # nobody gets a shadow's answers, so it need not be stopped within half a minute

# Phases of a release of the `endpoint` strategy.
SHADOW_PHASE, CANARY_PHASE = "shadow", "canary"

# A last net under every loop; the jobs' own limits end them much earlier.
EXECUTION_TIMEOUT_S: Final = 24 * 3_600

# Pipeline steps; the workflow looks the training job up by its step's name.
PREPARE_STEP, TRAIN_STEP, EVALUATE_STEP = "Prepare", "Train", "Evaluate"

# Below OutputUri, beside contracts.pipeline's folders.
PREPARED_FOLDER = "prepared/"

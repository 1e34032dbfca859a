"""What a retrain run, the pipeline it starts and the templates agree on.

The pipeline's parameters are named here because two rooms must spell them alike: the templates
declare them (with the contract's defaults) and the run_plan function fills them.
"""

from __future__ import annotations

from typing import Final

from contracts import naming

# Seconds between two looks at something that has no event we could trust to arrive.
FREEZE_POLL_S: Final = 30
INGEST_POLL_S: Final = 30
PIPELINE_POLL_S: Final = 30
RELEASE_POLL_S: Final = 30

# A last net under every loop; the jobs' own limits end them much earlier.
EXECUTION_TIMEOUT_S: Final = 24 * 3_600

# Pipeline steps; the workflow looks the training job up by this name.
PREPARE_STEP, TRAIN_STEP, EVALUATE_STEP = "Prepare", "Train", "Evaluate"

# Pipeline parameters that every run fills. URIs of folders end in "/".
DATASET_URI = "DatasetUri"  # a frozen data set
OUTPUT_URI = "OutputUri"  # naming.run_prefix: prepared/, training/ and evaluation/ go below it
PRETRAINED_URI = "PretrainedUri"
CHAMPION_URI = "ChampionUri"  # never an empty folder: SageMaker refuses an input without objects
CHAMPION_VERSION = "ChampionVersion"  # "none" before the first promotion

PREPARED, TRAINING, EVALUATION = "prepared/", "training/", "evaluation/"

# Hyperparameters with a default of their own; a story's contract overrides them by the same name.
HYPERPARAMETER_DEFAULTS: dict[str, str] = {
    "epochs": "3", "max-steps": "0", "learning-rate": "5e-5", "batch-size": "32", "seed": "13",
    "calibration-rows": "128",
}


def hyperparameter_parameter(name: str) -> str:
    """`learning-rate` -> `LearningRate`: the pipeline parameter of a hyperparameter."""
    return naming.pascal(name)

"""Parameters of a story's SageMaker pipeline: the construct declares them, `run_plan` fills them.

Hyperparameter `max-steps` is pipeline parameter `MaxSteps`.
"""

from __future__ import annotations

from collections.abc import Mapping

from contracts import naming
from contracts.records import NO_CHAMPION
from contracts.story import StoryContract

RUN_ID = "RunId"
DATASET_URI = "DatasetUri"
CHAMPION_URI = "ChampionUri"
CHAMPION_VERSION = "ChampionVersion"
OUTPUT_URI = "OutputUri"  # ends with "/"
# Has a default in the template, the production encoder; a warm start names the champion's `pytorch/`.
PRETRAINED_URI = "PretrainedUri"

# In a run's input only: "champion" continues from its weights, and its head when the label set is the same.
WARM_START = "WarmStart"
WARM_STARTS: tuple[str, ...] = ("pretrained", "champion")
CHAMPION_WEIGHTS = "pytorch/"  # below a model's URI

RUN_PARAMETERS: tuple[str, ...] = (RUN_ID, DATASET_URI, CHAMPION_URI, CHAMPION_VERSION, OUTPUT_URI)

# Below OutputUri. The training job writes model/JOB/output/model/..., evaluation the two files.
MODEL_FOLDER = "model/"
EVALUATION_FOLDER = "evaluation/"


def hyperparameter_parameter(name: str) -> str:
    return naming.pascal(name)


def parameters(
    story: StoryContract, run: Mapping[str, str], overrides: Mapping[str, str]
) -> list[dict[str, str]]:
    """All parameters as StartPipelineExecution takes them; ValueError names unknown overrides.

    An override is a hyperparameter, PretrainedUri, or WarmStart. Before the first promotion there is
    no champion to continue from, and a warm start begins with the pretrained encoder.
    """
    values = {hyperparameter_parameter(k): v for k, v in story.hyperparameters.items()}
    allowed = {*values, PRETRAINED_URI, WARM_START}
    unknown = sorted(overrides.keys() - allowed)
    if unknown:
        raise ValueError(f"unknown hyperparameters {', '.join(unknown)}: allowed are {', '.join(sorted(allowed))}")
    missing = [name for name in RUN_PARAMETERS if name not in run]
    if missing:
        raise ValueError(f"pipeline parameters {', '.join(missing)} are missing")
    start = overrides.get(WARM_START, WARM_STARTS[0])
    if start not in WARM_STARTS:
        raise ValueError(f"{WARM_START} must be one of {', '.join(WARM_STARTS)}, got {start!r}")
    if start == "champion" and run[CHAMPION_VERSION] != NO_CHAMPION:
        values[PRETRAINED_URI] = f"{run[CHAMPION_URI].rstrip('/')}/{CHAMPION_WEIGHTS}"
    values |= {name: str(value) for name, value in overrides.items() if name != WARM_START}
    values |= {name: run[name] for name in RUN_PARAMETERS}
    return [{"Name": name, "Value": value} for name, value in values.items()]

"""What SageMaker tells a job, and what the images are made of."""

from __future__ import annotations

import io
import json
import re
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import pytest

from model_code.common.log import log_event
from model_code.common.sagemaker_job import TrainingJob, parse_config, write_exit_message
from model_code.intent_classifier.train_config import TrainConfig

ROOT = Path(__file__).resolve().parents[3]


@dataclass(frozen=True, kw_only=True)
class Config:
    steps: int
    rate: float = 0.5
    name: str = "x"


def test_the_toolkits_variables_describe_the_job() -> None:
    job = TrainingJob.read({
        "SM_CHANNEL_TRAIN": "/data/train", "SM_CHANNEL_PRETRAINED": "/data/base", "SM_MODEL_DIR": "/out",
        "SM_HPS": '{"max_steps": 8, "learning-rate": "1e-4", "sagemaker_program": "train.py"}',
    })
    assert job.channel("train") == Path("/data/train")
    assert (job.model_dir, job.checkpoint_dir) == (Path("/out"), Path("/opt/ml/checkpoints"))
    assert job.hyperparameters == {"max-steps": "8", "learning-rate": "1e-4"}


def test_a_bare_container_reads_the_same_from_its_files(tmp_path: Path) -> None:
    config = tmp_path / "input" / "config"
    config.mkdir(parents=True)
    (config / "inputdataconfig.json").write_text('{"train": {"TrainingInputMode": "File"}}')
    (config / "hyperparameters.json").write_text('{"epochs": "2"}')
    job = TrainingJob.read({"SAGEMAKER_BASE_DIR": str(tmp_path)})
    assert job.channel("train") == tmp_path / "input" / "data" / "train"
    assert job.hyperparameters == {"epochs": "2"}
    assert job.model_dir == tmp_path / "model"
    with pytest.raises(ValueError, match="channel 'pretrained' is missing; the job has train"):
        job.channel("pretrained")


def test_a_job_without_any_configuration_has_no_channels(tmp_path: Path) -> None:
    job = TrainingJob.read({"SAGEMAKER_BASE_DIR": str(tmp_path)})
    assert (job.channels, job.hyperparameters) == ({}, {})


def test_arguments_win_over_hyperparameters_and_defaults_fill_the_rest() -> None:
    assert parse_config(Config, {"steps": "3", "rate": "1e-3"}, ["--steps", "4"]) == Config(steps=4, rate=1e-3)


@pytest.mark.parametrize(("hyperparameters", "argv", "says"), [
    ({"steps": "3", "speed": "9"}, [], "unknown hyperparameter 'speed'; allowed: steps, rate, name"),
    ({"steps": "3"}, ["--speed", "9"], "unknown hyperparameter '--speed'"),
    ({"steps": "many"}, [], "'steps' must be int, got 'many'"),
    ({}, [], "'steps' is missing"),
])
def test_a_wrong_hyperparameter_is_named_with_what_is_allowed(
    hyperparameters: dict[str, str], argv: list[str], says: str,
) -> None:
    with pytest.raises(ValueError, match=says):
        parse_config(Config, hyperparameters, argv)


def test_the_contracts_hyperparameters_are_the_jobs() -> None:
    from contracts.stories.intent_classifier import INTENT_CLASSIFIER

    assert parse_config(TrainConfig, INTENT_CLASSIFIER.hyperparameters) == TrainConfig()


def test_the_exit_message_is_small_json_where_sagemaker_looks(tmp_path: Path) -> None:
    environ = {"SAGEMAKER_BASE_DIR": str(tmp_path)}
    write_exit_message({"status": "frozen", "rows": 3}, environ=environ)
    assert json.loads((tmp_path / "output" / "message").read_text()) == {"status": "frozen", "rows": 3}
    with pytest.raises(ValueError, match=r"at most 1024 bytes, got .*fields: detail"):
        write_exit_message({"detail": "x" * 2000}, environ=environ)


def test_a_log_line_is_one_json_object() -> None:
    stream = io.StringIO()
    log_event("trained", stream=stream, steps=3)
    [line] = stream.getvalue().splitlines()
    assert json.loads(line)["event"] == "trained"
    assert json.loads(line)["steps"] == 3


@pytest.mark.parametrize("image", ["training", "serving"])
def test_an_image_holds_the_versions_that_the_tests_run_with(image: str) -> None:
    lines = (ROOT / "containers" / image / "requirements.txt").read_text().splitlines()
    pins = [line.split("#")[0].strip().split("==") for line in lines if line and not line.startswith("#")]
    assert len(pins) >= 7
    for name, wanted in pins:
        assert version(name).split("+")[0] == wanted, name


@pytest.mark.parametrize("image", ["training", "serving"])
def test_an_image_is_not_run_by_root_and_copies_only_what_exists(image: str) -> None:
    text = (ROOT / "containers" / image / "Dockerfile").read_text()
    assert re.search(r"^USER 1000$", text, re.M)
    assert re.search(r"^ARG BASE=.+\nFROM \$\{BASE\}$", text, re.M)
    sources = re.findall(r"^COPY (\S+) ", text, re.M)
    assert len(sources) == 3
    assert all((ROOT / source).exists() for source in sources)

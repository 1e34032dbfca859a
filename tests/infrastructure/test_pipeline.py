"""The training pipeline, against SageMaker's request model and the contract."""

from __future__ import annotations

from typing import Any

import botocore.session
import pytest
from mlplatform.pipeline_definition import MAX_CHARACTERS, Parameter, PipelineDefinition

from contracts import pipeline as parameters
from contracts import workflow
from contracts.instances import takes_volume_key
from contracts.stories.intent_classifier import INTENT_CLASSIFIER
from tests.infrastructure.conftest import Assembly
from tests.infrastructure.definitions import pipeline
from tests.infrastructure.test_state_machines import _check

# SageMaker names the jobs of a pipeline itself.
GIVEN_BY_SAGEMAKER = {"Processing": {"ProcessingJobName": "x"}, "Training": {"TrainingJobName": "x"}}


def _resolved(node: Any) -> Any:
    """References replaced by a text, as SageMaker does before it calls itself."""
    if isinstance(node, dict):
        if node.keys() & {"Get", "Std:Join"}:
            return "resolved"
        return {k: _resolved(v) for k, v in node.items()}
    return [_resolved(item) for item in node] if isinstance(node, list) else node


def _steps(assembly: Assembly) -> dict[str, dict[str, Any]]:
    return {step["Name"]: step for step in pipeline(assembly)["Steps"]}


@pytest.mark.parametrize("name", [workflow.PREPARE_STEP, workflow.TRAIN_STEP, workflow.EVALUATE_STEP])
def test_a_steps_arguments_are_a_request_that_sagemaker_knows(assembly: Assembly, name: str) -> None:
    step = _steps(assembly)[name]
    model = botocore.session.get_session().get_service_model("sagemaker")
    shape = model.operation_model(f"Create{step['Type']}Job").input_shape
    assert shape is not None
    arguments = _resolved(step["Arguments"])
    for io in (*arguments.get("ProcessingInputs", []), *arguments.get("ProcessingOutputConfig", {}).get("Outputs", [])):
        assert io["AppManaged"] is False
    _check(shape, {**arguments, **GIVEN_BY_SAGEMAKER[step["Type"]]}, name)


def test_parameters_are_exactly_those_that_a_run_plan_fills(assembly: Assembly) -> None:
    run = {name: "s3://x/" for name in parameters.RUN_PARAMETERS}
    filled = {p["Name"] for p in parameters.parameters(INTENT_CLASSIFIER, run, {})}
    declared = {p["Name"]: p for p in pipeline(assembly)["Parameters"]}
    assert filled | {parameters.PRETRAINED_URI} == set(declared)
    for name, value in INTENT_CLASSIFIER.hyperparameters.items():
        assert declared[parameters.hyperparameter_parameter(name)]["DefaultValue"] == value


def test_jobs_are_isolated_in_the_vpc_and_bounded_in_time(assembly: Assembly) -> None:
    steps = _steps(assembly)
    assert list(steps) == [workflow.PREPARE_STEP, workflow.TRAIN_STEP, workflow.EVALUATE_STEP]
    for step in steps.values():
        arguments = step["Arguments"]
        network = arguments.get("NetworkConfig", arguments)
        assert network["EnableNetworkIsolation"] is True
        assert len(network["VpcConfig"]["Subnets"]) == 2
        assert arguments["StoppingCondition"]["MaxRuntimeInSeconds"] > 0
        assert {e for p in step["RetryPolicies"] for e in p["ExceptionType"]} >= {"Step.THROTTLING",
                                                                                   "SageMaker.CAPACITY_ERROR"}


def test_outputs_are_encrypted_and_volumes_where_sagemaker_takes_a_key(assembly: Assembly) -> None:
    seen = set()
    for step in _steps(assembly).values():
        arguments = step["Arguments"]
        output = arguments.get("ProcessingOutputConfig") or arguments["OutputDataConfig"]
        assert output["KmsKeyId"]
        cluster = arguments.get("ResourceConfig") or arguments["ProcessingResources"]["ClusterConfig"]
        assert ("VolumeKmsKeyId" in cluster) == takes_volume_key(cluster["InstanceType"])
        seen.add("VolumeKmsKeyId" in cluster)
    assert seen == {True, False}


def test_the_model_stays_an_uncompressed_prefix(assembly: Assembly) -> None:
    assert _steps(assembly)["Train"]["Arguments"]["OutputDataConfig"]["CompressionType"] == "NONE"


def test_a_definition_beyond_sagemakers_limit_is_refused() -> None:
    huge = PipelineDefinition(parameters=[Parameter(name="P", default="x" * MAX_CHARACTERS)], steps=[])
    with pytest.raises(ValueError, match="at most 1048576 characters, got"):
        huge.to_json()

"""Prepare -> train -> evaluate as one SageMaker pipeline, sized by the story's contract."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from aws_cdk import Stack
from aws_cdk import aws_kms as kms
from aws_cdk import aws_sagemaker as sagemaker

from constructs import Construct
from contracts import naming, pipeline, workflow
from contracts.instances import takes_volume_key
from contracts.story import JobSizing, StoryContract
from mlplatform.buckets import Buckets
from mlplatform.network import Network
from mlplatform.pipeline_definition import (
    Parameter,
    PipelineDefinition,
    ProcessingStep,
    TrainingStep,
    Volume,
    input_path,
    join,
    output_path,
)
from mlplatform.policies import (
    ServiceRole,
    Statement,
    allow,
    arn,
    arn_of,
    pass_role,
    read_prefixes,
    service_role,
    use_key,
    write_prefixes,
)
from mlplatform.sagemaker_roles import sagemaker_role


@dataclass(frozen=True, kw_only=True)
class TrainingPipelineProps:
    story: StoryContract
    image: str  # pinned by digest
    buckets: Buckets
    network: Network
    key: kms.IKey


def volume(sizing: JobSizing, key: kms.IKey) -> Volume:
    return Volume(instance_type=sizing.instance_type, instances=sizing.instances, gb=sizing.volume_gb,
                  key_arn=arn_of(key) if takes_volume_key(sizing.instance_type) else None)


class TrainingPipeline(Construct):
    """The pipeline and a role for each of its jobs. Jobs are isolated: they can call nothing."""

    def __init__(self, scope: Construct, id_: str, *, props: TrainingPipelineProps) -> None:
        super().__init__(scope, id_)
        self._props = props
        slug = props.story.slug
        self.name = naming.pipeline(slug)
        self.job_roles = self._job_roles(slug)
        self.role = self._pipeline_role()
        self.resource = sagemaker.CfnPipeline(
            self, "Default", pipeline_name=self.name, role_arn=self.role.role_arn,
            pipeline_description=f"{props.story.entry.code}: prepare, train, evaluate",
            # Typed Any: CDK's own property class would emit camelCase keys, an invalid template.
            pipeline_definition={"PipelineDefinitionBody": self._definition().to_json()},
        )

    def _job_roles(self, slug: str) -> dict[str, ServiceRole]:
        lake, artifacts = self._props.buckets.lake.bucket_arn, self._props.buckets.artifacts.bucket_arn
        runs, models = naming.all_runs_prefix(slug), naming.all_models_prefix(slug)
        pretrained, datasets = naming.pretrained_prefix(self._props.story.encoder), naming.all_datasets_prefix(slug)
        write = write_prefixes(artifacts, runs)
        grants: dict[str, Sequence[Statement]] = {
            workflow.PREPARE_STEP: [*read_prefixes(lake, datasets), write],
            # Checkpoints, read back when a job resumes, lie below the run; a warm start reads the champion.
            workflow.TRAIN_STEP: [*read_prefixes(artifacts, runs, models, pretrained), write],
            workflow.EVALUATE_STEP: [*read_prefixes(artifacts, runs, models), write],
        }
        story = self._props.story
        sizing = {workflow.PREPARE_STEP: story.prepare, workflow.TRAIN_STEP: story.training,
                  workflow.EVALUATE_STEP: story.evaluation}
        return {
            step: sagemaker_role(
                self, f"{step}Role", description=f"{slug}: the {step.lower()} job", statements=statements,
                image_repository=naming.image_repository("training"), key_arn=arn_of(self._props.key),
                network=self._props.network, encrypts_volume=takes_volume_key(sizing[step].instance_type),
                log_group="TrainingJobs" if step == workflow.TRAIN_STEP else "ProcessingJobs",
            )
            for step, statements in grants.items()
        }

    def _pipeline_role(self) -> ServiceRole:
        jobs = [arn("sagemaker", f"{kind}/pipelines-*") for kind in ("training-job", "processing-job")]
        return service_role(
            self, "Role", service="sagemaker.amazonaws.com", description=f"Runs the steps of {self.name}",
            statements=[
                allow("sagemaker:CreateTrainingJob", "sagemaker:DescribeTrainingJob", "sagemaker:StopTrainingJob",
                      "sagemaker:CreateProcessingJob", "sagemaker:DescribeProcessingJob",
                      "sagemaker:StopProcessingJob", "sagemaker:AddTags", on=jobs),
                pass_role([role.role_arn for role in self.job_roles.values()], to="sagemaker.amazonaws.com"),
                use_key(arn_of(self._props.key)),
            ],
        )

    def _definition(self) -> PipelineDefinition:
        hyperparameters = {name: Parameter(name=pipeline.hyperparameter_parameter(name), default=value)
                           for name, value in self._props.story.hyperparameters.items()}
        run = {name: Parameter(name=name) for name in pipeline.RUN_PARAMETERS}
        artifacts, encoder = self._props.buckets.artifacts, self._props.story.encoder
        run[pipeline.PRETRAINED_URI] = Parameter(
            name=pipeline.PRETRAINED_URI,
            default=f"s3://{artifacts.bucket_name}/{naming.pretrained_prefix(encoder)}")
        return PipelineDefinition(
            parameters=[*run.values(), *hyperparameters.values()],
            steps=[self._prepare(run, hyperparameters["seed"]), self._train(run, hyperparameters),
                   self._evaluate(run)],
        )

    def _module(self, script: str) -> str:
        return f"model_code.{naming.snake(self._props.story.slug)}.{script}"

    def _prepare(self, run: dict[str, Parameter], seed: Parameter) -> ProcessingStep:
        p, step = self._props, workflow.PREPARE_STEP
        return ProcessingStep(
            name=step, image=p.image, role_arn=self.job_roles[step].role_arn, module=self._module("prepare"),
            arguments=["--dataset", input_path("dataset"), "--output", output_path("prepared"),
                       "--seed", seed.reference()],
            inputs={"dataset": run[pipeline.DATASET_URI].reference()},
            outputs={"prepared": self._prepared(run)},
            volume=volume(p.story.prepare, p.key), max_runtime_s=p.story.prepare.max_runtime_s,
            key_arn=arn_of(p.key), vpc_config=p.network.vpc_config,
            environment={"RUN_ID": run[pipeline.RUN_ID].reference()},
        )

    def _train(self, run: dict[str, Parameter], hyperparameters: dict[str, Parameter]) -> TrainingStep:
        p, step = self._props, workflow.TRAIN_STEP
        output = run[pipeline.OUTPUT_URI].reference()
        return TrainingStep(
            name=step, image=p.image, role_arn=self.job_roles[step].role_arn, module=self._module("train"),
            hyperparameters={name: parameter.reference() for name, parameter in hyperparameters.items()},
            channels={"train": self._prepared(run), "pretrained": run[pipeline.PRETRAINED_URI].reference()},
            output=join(output, pipeline.MODEL_FOLDER.rstrip("/")), checkpoints=join(output, "checkpoints"),
            volume=volume(p.story.training, p.key), max_runtime_s=p.story.training.max_runtime_s,
            key_arn=arn_of(p.key), vpc_config=p.network.vpc_config, depends_on=[workflow.PREPARE_STEP],
        )

    def _evaluate(self, run: dict[str, Parameter]) -> ProcessingStep:
        p, step = self._props, workflow.EVALUATE_STEP
        return ProcessingStep(
            name=step, image=p.image, role_arn=self.job_roles[step].role_arn, module=self._module("evaluate"),
            arguments=[
                "--prepared", input_path("prepared"), "--model", input_path("model"),
                "--champion", input_path("champion"),
                "--champion-version", run[pipeline.CHAMPION_VERSION].reference(),
                "--output", output_path("evaluation"), "--region", Stack.of(self).region,
                "--instance-type", p.story.training.instance_type,  # prices the training run
            ],
            inputs={
                "prepared": self._prepared(run),
                "model": {"Get": f"Steps.{workflow.TRAIN_STEP}.ModelArtifacts.S3ModelArtifacts"},
                "champion": run[pipeline.CHAMPION_URI].reference(),
            },
            outputs={"evaluation": join(run[pipeline.OUTPUT_URI].reference(),
                                        pipeline.EVALUATION_FOLDER.rstrip("/"))},
            volume=volume(p.story.evaluation, p.key), max_runtime_s=p.story.evaluation.max_runtime_s,
            key_arn=arn_of(p.key), vpc_config=p.network.vpc_config, depends_on=[workflow.PREPARE_STEP],
            environment={"RUN_ID": run[pipeline.RUN_ID].reference()},
        )

    @staticmethod
    def _prepared(run: dict[str, Parameter]) -> dict[str, object]:
        return join(run[pipeline.OUTPUT_URI].reference(), workflow.PREPARED_FOLDER.rstrip("/"))

    def run_statements(self) -> list[Statement]:
        """Start, watch and stop executions of this pipeline."""
        pipeline_arn = arn("sagemaker", f"pipeline/{self.name}")
        return [
            allow("sagemaker:StartPipelineExecution", on=pipeline_arn),
            allow("sagemaker:DescribePipelineExecution", "sagemaker:StopPipelineExecution",
                  on=f"{pipeline_arn}/execution/*"),
        ]
